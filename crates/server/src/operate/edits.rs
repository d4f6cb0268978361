//! Owns what an operator changes of a service's backends beside the configuration: who they are, how much they get, whether they are held to be well.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Backend, Service, What, exit};
use crate::client::At;
use crate::look::history::taken;
use crate::say;
use crate::table::cell;

#[derive(Args)]
pub(crate) struct Add {
    /// Its service
    service: String,
    /// Where it is: `10.0.0.7:8080`, `unix:/run/app.sock`
    address: String,
    /// Its id, if that is to be another than its address
    #[arg(long)]
    id: Option<String>,
    /// Its weight
    #[arg(long)]
    weight: Option<u32>,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Weight {
    /// Its service
    service: String,
    /// Its id
    backend: String,
    /// What it gets beside others: twice the weight, twice the share
    weight: u32,
    #[command(flatten)]
    at: At,
}

#[derive(Args)]
pub(crate) struct Verdict {
    /// Its service
    service: String,
    /// Its id
    backend: String,
    /// What it is held to be
    verdict: Word,
    /// For how long, like `10m`; without it, until another verdict
    #[arg(long = "for", value_name = "DURATION", value_parser = evenkeel_config::duration)]
    within: Option<Duration>,
    #[command(flatten)]
    at: At,
}

/// What a backend is held to be.
#[derive(Clone, Copy, ValueEnum)]
enum Word {
    /// It is well, whatever checks and traffic say
    Up,
    /// It is not
    Down,
    /// What checks and traffic say
    Withdrawn,
}

pub(crate) fn add(wanted: &Add) -> ExitCode {
    let id = wanted.id.as_deref().unwrap_or(&wanted.address);
    let path = What::Backend(&wanted.service, id).path();
    let mut entry = json!({ "address": wanted.address });
    if let Some(weight) = wanted.weight {
        entry["weight"] = weight.into();
    }
    let done = wanted.at.admin().change("PUT", &path, Some(&entry));
    exit(done.map(|done| taken(&done)))
}

pub(crate) fn weight(wanted: &Weight) -> ExitCode {
    let path = What::Backend(&wanted.service, &wanted.backend).path();
    let entry = json!({ "weight": wanted.weight });
    let done = wanted.at.admin().change("PATCH", &path, Some(&entry));
    exit(done.map(|done| taken(&done)))
}

pub(crate) fn remove(backend: &Backend) -> ExitCode {
    let path = What::Backend(&backend.service, &backend.backend).path();
    let done = backend.at.admin().change("DELETE", &path, None);
    exit(done.map(|done| taken(&done)))
}

pub(crate) fn verdict(wanted: &Verdict) -> ExitCode {
    let what = What::Backend(&wanted.service, &wanted.backend);
    let word = match wanted.verdict {
        Word::Up => "up",
        Word::Down => "down",
        Word::Withdrawn => "withdrawn",
    };
    let mut said = json!({ "verdict": word });
    if let Some(within) = wanted.within {
        said["for_seconds"] = within.as_secs_f64().into();
    }
    let path = format!("{}/verdict", what.path());
    let done = wanted.at.admin().send("POST", &path, &said);
    let told = match wanted.verdict {
        Word::Withdrawn => "is what checks and traffic say".to_owned(),
        _ => format!("is held to be {word}"),
    };
    exit(done.map(|_| {
        let name = Value::from(what.name());
        say::out(&format!("{} {told}\n", cell(&name)));
        ExitCode::SUCCESS
    }))
}

pub(crate) fn check(service: &Service) -> ExitCode {
    let path = format!("{}/check", What::Service(&service.service).path());
    let done = service.at.admin().ask("POST", &path);
    exit(done.map(|done| {
        say::out(&format!("{} backends are checked\n", cell(&done["count"])));
        ExitCode::SUCCESS
    }))
}
