//! What this node spends its time on, sampled while somebody waits for it.

use std::time::Duration;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use prost::Message;
use serde::Deserialize;

use super::Refused;
use crate::profile::{Profile, SECONDS_MAX};

/// Samples a second of the processor's time. Not a round number, so that it keeps no step with timers.
const SAMPLES_PER_S: i32 = 99;
/// Stacks that begin in these libraries are not walked: what unwinds them is there itself.
const NOT_WALKED: [&str; 4] = ["libc.", "libgcc", "libpthread", "vdso"];

/// For how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileQuery {
    #[serde(default = "ten")]
    seconds: u64,
}

fn ten() -> u64 {
    10
}

/// `GET /debug/profile?seconds=N`: the CPU profile of the next N seconds, at most 60, in pprof's format. One at a time.
pub async fn profile(asked: Result<Query<ProfileQuery>, QueryRejection>) -> Result<impl IntoResponse, Refused> {
    let bad = |message: String| Refused(StatusCode::BAD_REQUEST, message);
    let Query(asked) = asked.map_err(|rejection| bad(rejection.body_text()))?;
    if !(1..=SECONDS_MAX).contains(&asked.seconds) {
        return Err(bad(format!("seconds: 1 to {SECONDS_MAX}")));
    }
    let sampler = pprof::ProfilerGuardBuilder::default().frequency(SAMPLES_PER_S).blocklist(&NOT_WALKED);
    let guard = sampler.build().map_err(|error| match error {
        pprof::Error::Running => {
            Refused(StatusCode::CONFLICT, "a profile is taken here already: wait until it has ended".into())
        }
        error => Refused(StatusCode::SERVICE_UNAVAILABLE, format!("no profile can be taken here: {error}")),
    })?;
    tokio::time::sleep(Duration::from_secs(asked.seconds)).await;
    // Names are looked up in the binary, which takes a while the first time.
    let shaped = tokio::task::spawn_blocking(move || guard.report().build().map(|report| Profile::of(&report)));
    let failed =
        |error: &dyn std::fmt::Display| Refused(StatusCode::SERVICE_UNAVAILABLE, format!("the profile: {error}"));
    let profile = shaped.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb\""),
    ];
    Ok((headers, profile.encode_to_vec()))
}
