//! Owns asking a running instance: one request, one answer, over TCP, TLS or a Unix socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::inputs::variable;

/// Which instance, and the connection to it.
mod way;

use way::Stream;
pub(crate) use way::{Address, Admin, At};

/// How long an instance may take to take a request, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read.
const ANSWER_MOST: u64 = 64 * 1024 * 1024;

/// The most of one line, of what is told as it happens.
const LINE_MOST: u64 = 64 * 1024;

/// What is asked.
struct Question<'q> {
    method: &'q str,
    path: &'q str,
    /// The revision that a change is meant for.
    seen: &'q str,
    body: &'q str,
    /// Fields beside those that each has, with their line's end.
    further: &'q str,
}

impl<'q> Question<'q> {
    /// What the command line asks for is meant whichever revision runs, unless it replaces something.
    const fn bare(method: &'q str, path: &'q str) -> Self {
        Self {
            method,
            path,
            seen: "*",
            body: "",
            further: "",
        }
    }
}

impl Admin {
    /// Asks for a page, or for a change.
    ///
    /// # Errors
    /// What went wrong, in words: nobody answers, or the answer is a refusal.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<Value, String> {
        self.read(&Question::bare(method, path))
    }

    /// Sends this with a question.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        self.read(&Question {
            body: &body,
            ..Question::bare(method, path)
        })
    }

    /// Changes the configuration that runs now: what somebody else changes between is not written over, but refused.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn change(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let version = self.ask("GET", "/v1/version")?;
        let revision = version["configuration"]["revision"].as_str();
        let seen = format!("\"{}\"", revision.ok_or_else(|| self.is_another())?);
        let body = body.map(Value::to_string).unwrap_or_default();
        self.read(&Question {
            seen: &seen,
            body: &body,
            ..Question::bare(method, path)
        })
    }

    fn read(&self, question: &Question) -> Result<Value, String> {
        let body = self.text_of(question)?;
        serde_json::from_str(&body).map_err(|_| self.is_another())
    }

    fn is_another(&self) -> String {
        format!("{self} does not answer as evenkeel does")
    }

    /// All rows of a list that comes in pages.
    ///
    /// # Errors
    /// As above; or the row that a page began behind has gone meanwhile.
    pub(crate) fn all(&self, path: &str) -> Result<Vec<Value>, String> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let mut page = self.ask("GET", &format!("{path}?limit=1000{after}"))?;
            let Some(items) = page["items"].as_array_mut() else {
                return Err(self.is_another());
            };
            rows.append(items);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", part(next)),
                None => return Ok(rows),
            }
        }
    }

    /// A page as it came.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn page(&self, path: &str) -> Result<String, String> {
        self.text_of(&Question::bare("GET", path))
    }

    fn text_of(&self, question: &Question) -> Result<String, String> {
        let mut answer = String::new();
        let read = self.begin(question).and_then(|stream| {
            stream.take(ANSWER_MOST).read_to_string(&mut answer)?;
            Ok(())
        });
        read.map_err(|error| self.silent(&error))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| self.is_another())?;
        match self.status(head)? {
            200 | 201 => Ok(body.to_owned()),
            _ => Err(self.refusal(body)),
        }
    }

    /// Reads along what is told as it happens, line by line, until `tell` has enough, or the instance ends it.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn follow(
        &self,
        path: &str,
        last: Option<u64>,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<(), String> {
        let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        let further = format!("Accept: text/event-stream\r\n{last}");
        let question = Question {
            further: &further,
            ..Question::bare("GET", path)
        };
        let stream = self.begin(&question).map_err(|error| self.silent(&error))?;
        let mut stream = BufReader::new(stream);
        let mut next = |head: bool| -> Result<Option<String>, String> {
            let mut line = String::new();
            let read = (&mut stream).take(LINE_MOST).read_line(&mut line);
            match read {
                Ok(_) if line.ends_with('\n') => Ok(Some(line.trim_end().to_owned())),
                Ok(_) if head => Err(self.is_another()),
                // It has ended, or broken off: who comes back misses nothing.
                Ok(_) => Ok(None),
                Err(error) if head => Err(self.silent(&error)),
                Err(_) => Ok(None),
            }
        };
        let status = self.status(&next(true)?.unwrap_or_default())?;
        while next(true)?.is_some_and(|line| !line.is_empty()) {}
        if status != 200 {
            let mut body = String::new();
            while let Some(line) = next(false)? {
                body.push_str(&line);
            }
            return Err(self.refusal(&body));
        }
        while let Some(line) = next(false)? {
            if !tell(&line) {
                break;
            }
        }
        Ok(())
    }

    fn status(&self, head: &str) -> Result<u16, String> {
        let word = head.split(' ').nth(1);
        let status = word.and_then(|word| word.parse().ok());
        status.ok_or_else(|| self.is_another())
    }

    fn silent(&self, error: &io::Error) -> String {
        // As the system puts it, a deadline is a resource that is not there.
        let why = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                format!("no answer within {PATIENCE:?}")
            }
            _ => error.to_string(),
        };
        format!("{self} cannot be asked: {why}; is it the admin address of a running instance?")
    }

    /// Why something is refused, in words, with every place that is wrong.
    fn refusal(&self, body: &str) -> String {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let Some(detail) = value["detail"].as_str() else {
            return self.is_another();
        };
        let mut words = detail.to_owned();
        for one in value["problems"].as_array().into_iter().flatten() {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let (line, column) = (&one["line"], &one["column"]);
            words.push_str(&format!(
                "\n{}:{line}:{column}: {}",
                text("text"),
                text("message")
            ));
        }
        words
    }

    /// What is answered follows in the stream.
    fn begin(&self, question: &Question) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.connect()?;
        put(&mut stream, question, &self.host(), self.is_private())?;
        Ok(stream)
    }
}

/// Where a token is that says who asks: on the command line all users of the machine would see it.
const TOKEN: &str = "EVENKEEL_TOKEN";

/// HTTP/1.0: the answer comes as it is, and ends with the connection.
fn put(stream: &mut dyn Write, question: &Question, host: &str, private: bool) -> io::Result<()> {
    let token = variable(TOKEN).and_then(|token| token.into_string().ok());
    let graphic = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
    let token = token
        .filter(graphic)
        .map(|token| format!("Authorization: Bearer {token}\r\n"));
    if !private && token.is_some() {
        let why = "a token is sent over TLS (`https://`), loopback and Unix sockets only: on the way to another machine anybody could read it";
        return Err(io::Error::other(why));
    }
    let token = token.unwrap_or_default();
    let Question {
        method,
        path,
        seen,
        body,
        further,
    } = question;
    let (version, length) = (env!("CARGO_PKG_VERSION"), body.len());
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nX-Evenkeel: {version}\r\nIf-Match: {seen}\r\n{token}{further}Content-Length: {length}\r\n\r\n{body}",
    )
}

/// A name as one part of a path.
pub(crate) fn part(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
