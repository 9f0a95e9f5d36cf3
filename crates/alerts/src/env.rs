//! The sinks that the environment asks for.

use plimsoll_core::env::{EnvSettings, Secret};

use crate::{
    slack::SlackSink,
    url::{AlertUrl, AlertUrlError},
    webhook::WebhookSink,
};

/// The sinks of `ALERT_WEBHOOK_URL` and `ALERT_SLACK_URL`; `None` where one is not set.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct EnvSinks {
    /// That of `ALERT_WEBHOOK_URL`.
    pub webhook: Option<WebhookSink>,
    /// That of `ALERT_SLACK_URL`.
    pub slack: Option<SlackSink>,
}

impl EnvSinks {
    /// Makes them from settings that were read before.
    ///
    /// # Errors
    /// Names the variable whose URL cannot be used, and what could, without a part of the value.
    pub fn of(settings: &EnvSettings) -> Result<Self, EnvSinkError> {
        let webhook = sink("ALERT_WEBHOOK_URL", settings.alert_webhook_url.as_ref(), |url| {
            WebhookSink::new(url)
        })?;
        let slack = sink("ALERT_SLACK_URL", settings.alert_slack_url.as_ref(), SlackSink::new)?;
        Ok(Self { webhook, slack })
    }
}

fn sink<S>(
    variable: &'static str,
    value: Option<&Secret>,
    make: impl FnOnce(AlertUrl) -> Result<S, AlertUrlError>,
) -> Result<Option<S>, EnvSinkError> {
    let url = value.map(|value| value.expose().parse::<AlertUrl>().and_then(make)).transpose();
    url.map_err(|source| EnvSinkError { variable, source })
}

/// A variable whose URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {source}")]
pub struct EnvSinkError {
    variable: &'static str,
    source: AlertUrlError,
}

impl EnvSinkError {
    /// The variable's name.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// What is wrong with its value, and what would be accepted, without a part of it.
    pub fn message(&self) -> String {
        self.source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, url: &str) -> Result<EnvSinks, EnvSinkError> {
        let vars = [(name.into(), url.into())];
        EnvSinks::of(&EnvSettings::from_vars(vars).expect("a URL by its looks"))
    }

    #[test]
    fn each_variable_makes_its_sink() {
        let sinks = made("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/").unwrap();
        assert!(sinks.webhook.is_some() && sinks.slack.is_none());
        let sinks = made("ALERT_SLACK_URL", "http://127.0.0.1:9/").unwrap();
        assert!(sinks.webhook.is_none() && sinks.slack.is_some());
        assert!(made("OTHER", "x").unwrap().webhook.is_none());
    }

    #[test]
    fn an_error_names_the_variable_and_the_forms_and_no_part_of_the_value() {
        for name in ["ALERT_WEBHOOK_URL", "ALERT_SLACK_URL"] {
            let error = made(name, "http://s3cret.example:99999/s3cret").unwrap_err();
            assert_eq!(error.variable(), name);
            let told = format!("{error} {error:?}");
            assert!(told.contains("port outside 1 to 65535"), "{told}");
            assert!(told.contains("accepted is http://HOST") && !told.contains("s3cret"), "{told}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn https_without_tls_says_which_feature_is_missing() {
        let error = made("ALERT_SLACK_URL", "https://hooks.example/s3cret").unwrap_err();
        assert!(error.message().contains("alerts-tls of plimsoll"), "{error}");
    }
}
