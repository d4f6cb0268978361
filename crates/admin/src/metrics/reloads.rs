//! Owns the metrics of the configuration: what became of reloads, since when it runs, and where what is changed of it is kept.

use std::fmt;

use evenkeel_control::command::Keeping;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{Page, rows};

impl Page {
    pub(super) fn reloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [taken, refused] = self.0.reloads;
        let counts = vec![
            (vec![("result", "taken")], taken),
            (vec![("result", "refused")], refused),
        ];
        rows(
            encoder,
            "reloads",
            "Reloads of the configuration by what became of them",
            MetricType::Counter,
            counts,
        )?;
        for (name, help, refused) in [
            (
                "config_last_reload_successful",
                "Whether the last reload of the configuration was taken, or there was none: 0 where what runs is not what it said then",
                self.0.texts_refused,
            ),
            (
                "files_last_reload_successful",
                "Whether the files that the configuration names (certificates, tokens) hold what runs: 0 where what was read last was refused",
                self.0.files_refused,
            ),
        ] {
            let taken = vec![(Vec::new(), u64::from(!refused))];
            rows(encoder, name, help, MetricType::Gauge, taken)?;
        }
        let now = self.0.keeping;
        let kept = [Keeping::Disk, Keeping::Memory, Keeping::Failing]
            .map(|one| (vec![("kept", one.word())], u64::from(one == now)));
        let help = "Where what operators want is kept over a restart: 1 at `disk`, at `memory` (nowhere, without --state-dir), or at `failing`";
        rows(
            encoder,
            "overlay_kept",
            help,
            MetricType::Gauge,
            kept.into(),
        )?;
        let help = "When the running configuration was taken: at the last good reload, or at the start; since 1970";
        rows(
            encoder,
            "config_taken_timestamp_seconds",
            help,
            MetricType::Gauge,
            vec![(Vec::new(), self.0.taken_at.as_secs())],
        )
    }
}
