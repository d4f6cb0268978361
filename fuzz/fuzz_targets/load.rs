#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _taken = evenkeel_fuzz_targets::load::check(input);
});
