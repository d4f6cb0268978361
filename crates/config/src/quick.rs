//! Owns the configuration of a command line: `run --listen :8080 --to 127.0.0.1:9001`.

use crate::problem::Source;

/// The text that says the same as these arguments. `:8080` means all addresses of both families.
#[must_use]
pub fn source(listen: &[String], to: &[String], admin: Option<&str>) -> Source {
    let binds = listen
        .iter()
        .flat_map(|address| match address.strip_prefix(':') {
            Some(port) => vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")],
            None => vec![address.clone()],
        });
    let list = |items: Vec<String>| {
        items
            .iter()
            .map(|item| quoted(item))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let admin = admin.map_or_else(String::new, |admin| {
        format!("admin: {{ bind: {} }}\n", quoted(admin))
    });
    Source {
        name: "command line".into(),
        text: format!(
            "{admin}listeners: {{ main: {{ bind: [{}] }} }}\nservices: {{ main: {{ backends: [{}] }} }}\n",
            list(binds.collect()),
            list(to.to_vec())
        ),
    }
}

/// A YAML text in double quotes. Beyond ASCII all is escaped: there are characters that YAML refuses as they are.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .filter(|char| !char.is_control())
        .map(|char| match char {
            '"' | '\\' => format!("\\{char}"),
            ' '..='~' => char.to_string(),
            _ => format!("\\U{:08x}", u32::from(char)),
        })
        .collect();
    format!("\"{escaped}\"")
}
