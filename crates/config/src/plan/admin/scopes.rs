//! Owns what somebody may do: areas of the API, each to be read and written by itself, and the roles that bundle them.

use std::fmt;

/// A part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Which backend other programs should ask.
    Decisions,
    /// Members of services, and what is wanted of them.
    Backends,
    /// Standing, checks and verdicts.
    Health,
    /// Counters, latencies and policies.
    Performance,
    /// The rest of what the instance runs by, and its process.
    Configuration,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Decisions,
        Self::Backends,
        Self::Health,
        Self::Performance,
        Self::Configuration,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Backends => "backends",
            Self::Health => "health",
            Self::Performance => "performance",
            Self::Configuration => "configuration",
        }
    }
}

/// What is done there. One does not imply the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Looked at.
    Read,
    /// Changed.
    Write,
}

impl Verb {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Nothing.
    pub const NONE: Self = Self(0);

    const fn one(area: Area, verb: Verb) -> Self {
        Self(1 << (area as u16 * 2 + verb as u16))
    }

    /// This too.
    #[must_use]
    pub const fn with(self, area: Area, verb: Verb) -> Self {
        Self(self.0 | Self::one(area, verb).0)
    }

    /// What either has.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has this.
    #[must_use]
    pub const fn has(self, area: Area, verb: Verb) -> bool {
        self.0 & Self::one(area, verb).0 != 0
    }

    /// Every word that [`parse`](Self::parse) takes: roles, then areas with their verbs.
    #[must_use]
    pub fn words() -> Vec<String> {
        let roles = Role::ALL.map(|role| role.word().to_owned());
        let all = Area::ALL.into_iter();
        let each = all.flat_map(|area| Verb::ALL.map(|verb| Self::word(area, verb)));
        roles.into_iter().chain(each).collect()
    }

    /// The word of one.
    #[must_use]
    pub fn word(area: Area, verb: Verb) -> String {
        format!("{}:{}", area.word(), verb.word())
    }

    /// One word of a configuration: a role, or an area and a verb as in `backends:write`. None: there is no such word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        if let Some(role) = Role::ALL.into_iter().find(|role| role.word() == word) {
            return Some(role.scopes());
        }
        let (area, verb) = word.split_once(':')?;
        let area = Area::ALL.into_iter().find(|one| one.word() == area)?;
        let verb = Verb::ALL.into_iter().find(|one| one.word() == verb)?;
        Some(Self::one(area, verb))
    }
}

/// In the words of a configuration.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Area::ALL.into_iter();
        let all = all.flat_map(|area| Verb::ALL.map(|verb| (area, verb)));
        let mut between = "";
        for (area, verb) in all.filter(|(area, verb)| self.has(*area, *verb)) {
            write!(f, "{between}{}", Self::word(area, verb))?;
            between = " ";
        }
        Ok(())
    }
}

/// A bundle of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks at everything, changes nothing.
    Viewer,
    /// Looks at everything, decides, and steers what runs; the configuration stays as it is.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What it may do.
    #[must_use]
    pub fn scopes(self) -> Scopes {
        let writes: &[Area] = match self {
            Self::Viewer => &[],
            Self::Operator => &[Area::Decisions, Area::Backends, Area::Health],
            Self::Admin => &Area::ALL,
        };
        let all = Area::ALL.into_iter();
        let reads = all.fold(Scopes::NONE, |scopes, area| scopes.with(area, Verb::Read));
        let written = writes.iter();
        written.fold(reads, |scopes, &area| scopes.with(area, Verb::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and writes of each area, in the order of [`Area::ALL`].
    #[track_caller]
    fn check(word: &str, expect: Option<&str>) {
        let scopes = Scopes::parse(word);
        let shown = scopes.map(|scopes| {
            let each = Area::ALL.map(|area| {
                let [read, write] = Verb::ALL.map(|verb| scopes.has(area, verb));
                format!(
                    "{}{}",
                    if read { "r" } else { "-" },
                    if write { "w" } else { "-" }
                )
            });
            each.join(" ")
        });
        assert_eq!(shown.as_deref(), expect, "{word}");
    }

    #[test]
    fn roles_bundle_scopes_and_scopes_stand_alone() {
        check("viewer", Some("r- r- r- r- r-"));
        check("operator", Some("rw rw rw r- r-"));
        check("admin", Some("rw rw rw rw rw"));
        check("decisions:read", Some("r- -- -- -- --"));
        check("backends:write", Some("-- -w -- -- --"));
        check("health:read", Some("-- -- r- -- --"));
        check("performance:write", Some("-- -- -- -w --"));
        check("configuration:write", Some("-- -- -- -- -w"));
        for word in [
            "",
            ":",
            "Admin",
            "admin ",
            "backends",
            "backends:",
            "backends:both",
            "backends:read:write",
            "root",
            ":read",
        ] {
            check(word, None);
        }
    }

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for role in Role::ALL {
            let scopes = role.scopes();
            let words = scopes.to_string();
            let read = words.split(' ').map(|word| Scopes::parse(word).unwrap());
            assert_eq!(read.fold(Scopes::NONE, Scopes::and), scopes);
        }
        assert_eq!(Scopes::NONE.to_string(), "");
        let words = Scopes::words();
        assert_eq!(words.len(), 13);
        assert!(words.iter().all(|word| Scopes::parse(word).is_some()));
    }
}
