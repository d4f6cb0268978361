-- Asks for /s1 to /sN in turn, where the address given is that of /sN.
local count, turn
function init()
  count, turn = tonumber(wrk.path:match("%d+")), 0
end
function request()
  turn = turn % count + 1
  return wrk.format("GET", "/s" .. turn)
end
