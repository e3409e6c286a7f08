//! `weeziq doctor`: looks at what a service needs before anybody needs the service, and says what to do about each thing that
//! is not as it should be. It changes nothing, and may run beside the service.

mod clock;
mod countries;
mod network;
mod providers;
mod security;
mod storage;

use std::fmt;

use crate::settings::Settings;

/// What was looked at, and how it is.
struct Finding {
    about: &'static str,
    how: How,
    says: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Well,
    /// It works, and will not at some time or under some load.
    Doubtful,
    /// It does not work, or must not be used like that.
    Broken,
}

/// All findings, worst news included; an error if something is broken.
pub(crate) fn examine(settings: &Settings) -> Result<String, String> {
    let mut findings = vec![match settings.check() {
        Ok(()) => Finding::well("settings", "each can be used"),
        Err(why) => Finding::broken("settings", why),
    }];
    findings.extend(storage::examine(settings));
    findings.extend(clock::examine(&settings.data_dir));
    findings.extend(network::descriptors());
    findings.extend(countries::examine(settings));
    findings.extend(security::examine(settings));
    findings.extend(asking(async {
        let mut findings = network::examine(settings).await;
        findings.extend(providers::examine(settings).await);
        findings
    })?);
    report(&findings)
}

/// Whether the service that these settings describe is ready: for a supervisor that can only run a program.
pub(crate) fn is_ready(settings: &Settings) -> Result<String, String> {
    match asking(network::ready(settings))? {
        Ok(()) => Ok("ready\n".into()),
        Err(why) => Err(why),
    }
}

fn report(findings: &[Finding]) -> Result<String, String> {
    let text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let count = |how| findings.iter().filter(|finding| finding.how == how).count();
    let (doubtful, broken) = (count(How::Doubtful), count(How::Broken));
    let text = format!("{text}{broken} broken, {doubtful} doubtful, {} well\n", count(How::Well));
    if broken == 0 { Ok(text) } else { Err(format!("not well:\n{}", text.trim_end())) }
}

fn asking<T>(questions: impl Future<Output = T>) -> Result<T, String> {
    // Fails only if a provider was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| format!("no runtime: {error}"))?.block_on(questions))
}

impl Finding {
    fn well(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, how: How::Well, says: says.into() }
    }

    fn doubtful(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, how: How::Doubtful, says: says.into() }
    }

    fn broken(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, how: How::Broken, says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Well => "ok  ",
            How::Doubtful => "warn",
            How::Broken => "FAIL",
        };
        write!(f, "{how}  {}: {}", self.about, self.says)
    }
}

/// Bytes as people read them.
fn shown(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes / MIB {
        mib @ 10_240.. => format!("{} GiB", mib / 1024),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_decides() {
        let well = || Finding::well("a", "fine");
        let doubtful = Finding::doubtful("b", "hm");
        assert_eq!(
            report(&[well(), doubtful]).unwrap(),
            "ok    a: fine\nwarn  b: hm\n0 broken, 1 doubtful, 1 well\n"
        );
        let refused = report(&[well(), Finding::broken("c", "mend it")]).unwrap_err();
        assert!(refused.contains("FAIL  c: mend it\n1 broken"), "{refused}");
    }
}
