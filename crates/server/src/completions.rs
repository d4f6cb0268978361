//! Owns `completions`: scripts for shells, made of the commands as they are.
//!
//! They know commands and flags, and leave values to the shell. zsh runs the script of bash by its own emulation.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};

use crate::say;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A command: its words behind the program's name, what may follow, and what it is for.
struct Place {
    words: Vec<String>,
    about: String,
    commands: Vec<String>,
    flags: Vec<(String, String)>,
}

pub(crate) fn completions(arguments: &Arguments, mut commands: Command) -> ExitCode {
    commands.build();
    let mut places = Vec::new();
    walk(&commands, &mut Vec::new(), &mut places);
    say::out(&script(arguments.shell, &places));
    ExitCode::SUCCESS
}

fn walk(command: &Command, words: &mut Vec<String>, into: &mut Vec<Place>) {
    let below = || {
        command
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
    };
    let text = |text: Option<&clap::builder::StyledStr>| {
        let text = text.map(ToString::to_string).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let flags = command.get_arguments().filter_map(|flag| {
        let name = flag.get_long()?;
        Some((name.to_owned(), text(flag.get_help())))
    });
    into.push(Place {
        words: words.clone(),
        about: text(command.get_about()),
        commands: below().map(|one| one.get_name().to_owned()).collect(),
        flags: flags.collect(),
    });
    for one in below() {
        words.push(one.get_name().to_owned());
        walk(one, words, into);
        words.pop();
    }
}

fn script(shell: Shell, places: &[Place]) -> String {
    match shell {
        Shell::Bash => bash(places),
        Shell::Zsh => format!(
            "autoload -U +X bashcompinit && bashcompinit\n{}",
            bash(places)
        ),
        Shell::Fish => fish(places),
    }
}

fn bash(places: &[Place]) -> String {
    let whole = |place: &Place| {
        let words = std::iter::once("evenkeel").chain(place.words.iter().map(String::as_str));
        words.collect::<Vec<_>>().join(" ")
    };
    let below = places.iter().filter(|place| !place.words.is_empty());
    let known: Vec<_> = below.map(|place| format!("\"{}\"", whole(place))).collect();
    let mut out = format!(
        "_evenkeel() {{
    local word=\"${{COMP_WORDS[COMP_CWORD]}}\" at=evenkeel words= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case \"$at ${{COMP_WORDS[i]}}\" in
            {}) at=\"$at ${{COMP_WORDS[i]}}\" ;;
        esac
    done
    case \"$at\" in
",
        known.join(" | ")
    );
    for place in places {
        let flags = place.flags.iter().map(|(flag, _)| format!("--{flag}"));
        let words: Vec<_> = place.commands.iter().cloned().chain(flags).collect();
        let at = whole(place);
        let _ = writeln!(out, "        \"{at}\") words=\"{}\" ;;", words.join(" "));
    }
    out.push_str(
        "    esac
    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))
}
complete -o default -F _evenkeel evenkeel
",
    );
    out
}

fn fish(places: &[Place]) -> String {
    let mut out = String::from(
        "function __evenkeel_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l words (string match -v -- '-*' $words)
    test \"$words\" = \"$argv\"
end
function __evenkeel_in
    set -l words (commandline -opc)
    set -e words[1]
    set -l words (string match -v -- '-*' $words)
    test \"$words[1..\"(count $argv)\"]\" = \"$argv\"
end
",
    );
    // Within single quotes fish reads these two as something else.
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    for place in places {
        let at = place.words.join(" ");
        if let Some((last, before)) = place.words.split_last() {
            let (before, about) = (before.join(" "), quoted(&place.about));
            let when = quoted(format!("__evenkeel_at {before}").trim_end());
            let _ = writeln!(
                out,
                "complete -c evenkeel -n {when} -f -a {last} -d {about}"
            );
        }
        for (flag, about) in &place.flags {
            let (when, about) = match at.is_empty() {
                true => ("__evenkeel_at".to_owned(), quoted(about)),
                false => (format!("'__evenkeel_in {at}'"), quoted(about)),
            };
            let _ = writeln!(out, "complete -c evenkeel -n {when} -l {flag} -d {about}");
        }
    }
    out
}
