//! One look at all nodes: their metrics, and what changed since the look before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::failure::Failure;
use crate::tls::{self, OperatorClient};

/// The longest page of metrics that is read, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// All nodes at a moment.
pub struct Picture {
    pub nodes: Vec<NodePicture>,
}

/// One node at a moment.
pub struct NodePicture {
    pub operator: String,
    /// `None`: it did not answer.
    pub figures: Option<Figures>,
    /// Seconds since the look before, and its figures, where there was one.
    before: Option<(f64, Figures)>,
}

/// Samples by name; those with labels are added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Reads Prometheus text.
    pub fn parse(text: &str) -> Figures {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("holdfast_")) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            // Those by label are summed up, and kept by label too.
            let bare = name.split('{').next().unwrap_or(name);
            *samples.entry(bare.to_string()).or_insert(0.0) += if value.is_nan() { 0.0 } else { value };
            if bare != name {
                samples.insert(name.to_string(), value);
            }
        }
        Figures(samples)
    }

    /// A sample; 0 where there is none.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn holds(&self, name: &str) -> bool {
        self.get(name) > 0.0
    }
}

impl NodePicture {
    /// How much a counter grew a second; `None` without a look before, or where the node was started anew.
    pub fn rate(&self, name: &str) -> Option<f64> {
        let (seconds, before) = self.before.as_ref()?;
        let grown = self.figures.as_ref()?.get(name) - before.get(name);
        (grown >= 0.0 && *seconds > 0.0).then(|| grown / seconds)
    }

    /// The mean of what a histogram was given since the look before, in milliseconds.
    pub fn mean_ms(&self, name: &str) -> Option<f64> {
        let (sum, count) = (self.rate(&format!("{name}_sum"))?, self.rate(&format!("{name}_count"))?);
        (count > 0.0).then(|| sum / count * 1_000.0)
    }
}

impl Picture {
    /// The node whose numbers stand for the cluster: the leader, else who has applied most.
    pub fn best(&self) -> Option<&NodePicture> {
        let answering = self.nodes.iter().filter(|node| node.figures.is_some());
        answering.max_by_key(|node| {
            let figures = node.figures.as_ref().expect("it answers");
            (figures.holds("holdfast_is_leader"), figures.get("holdfast_applied_index") as u64)
        })
    }

    /// The sum of a rate over all nodes, where at least one has it.
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.nodes.iter().filter_map(|node| node.rate(name)).reduce(|all, one| all + one)
    }
}

/// Looks at nodes.
pub struct Looker {
    operators: Vec<String>,
    client: OperatorClient,
    looked: Option<Instant>,
}

impl Looker {
    pub fn new(operators: Vec<String>, wait: Duration) -> Result<Looker, Failure> {
        Ok(Looker { operators, client: tls::own_client(wait)?, looked: None })
    }

    /// Looks at all nodes at once; `before` is the look before.
    pub async fn look(&mut self, before: Option<&Picture>) -> Picture {
        let now = Instant::now();
        let seconds = self.looked.replace(now).map(|looked| (now - looked).as_secs_f64());
        let this = &*self;
        let asked = this.operators.iter().enumerate().map(|(index, operator)| async move {
            let figures = this.ask(operator).await;
            let before = before.and_then(|picture| picture.nodes[index].figures.clone());
            NodePicture { operator: operator.clone(), figures, before: seconds.zip(before) }
        });
        Picture { nodes: join_all(asked).await }
    }

    async fn ask(&self, operator: &str) -> Option<Figures> {
        let url = format!("{}://{operator}/metrics", self.client.scheme);
        let answer = self.client.http.get(url).send().await.ok()?.error_for_status().ok()?;
        let page = answer.bytes().await.ok().filter(|page| page.len() <= PAGE_BYTES_MAX)?;
        Some(Figures::parse(&String::from_utf8_lossy(&page)))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn page(leads: bool, index: u64) -> String {
        format!(
            "# HELP holdfast_ready 1 if this node can be sent requests\nholdfast_ready 1\nholdfast_has_leader 1\n\
             holdfast_is_leader {}\nholdfast_term 3\nholdfast_voters 3\nholdfast_members 3\nholdfast_clock_agreed 1\n\
             holdfast_last_log_index {index}\nholdfast_committed_index {index}\nholdfast_applied_index {index}\n\
             holdfast_snapshot_index 4000\nholdfast_tickets 1040\nholdfast_tickets_sold 900\nholdfast_locks_live 17\n\
             holdfast_orders_live 15\nholdfast_orders_complete 890\nholdfast_payments_open 4\nholdfast_users 212\n\
             holdfast_events_emitted 9000\nholdfast_events_acknowledged 8950\nholdfast_events_waiting {}\n\
             holdfast_commands_total{{outcome=\"done\"}} {index}\nholdfast_commands_total{{outcome=\"refused\"}} 40\n\
             holdfast_http_requests_total{{method=\"GET\",route=\"/\",status=\"200\"}} {index}\n\
             holdfast_log_sync_seconds_sum {}\nholdfast_log_sync_seconds_count {index}\n\
             holdfast_proposal_seconds_sum {}\nholdfast_proposal_seconds_count {index}\n",
            u8::from(leads),
            if leads { 50 } else { 0 },
            index as f64 * 0.000_2,
            index as f64 * 0.004,
        )
    }

    /// Three nodes, of which one is away.
    pub fn picture() -> Picture {
        let node = |operator: &str, leads, now, before| NodePicture {
            operator: operator.into(),
            figures: Some(Figures::parse(&page(leads, now))),
            before: Some((1.0, Figures::parse(&page(leads, before)))),
        };
        let away = NodePicture { operator: "127.0.0.1:5003".into(), figures: None, before: None };
        Picture {
            nodes: vec![node("127.0.0.1:5001", true, 5_000, 4_500), node("127.0.0.1:5002", false, 4_990, 4_490), away],
        }
    }

    #[test]
    fn rates_come_from_two_looks_and_labels_are_added_up() {
        let picture = picture();
        let leader = picture.best().expect("one answers");
        assert_eq!(leader.operator, "127.0.0.1:5001");
        assert_eq!(leader.figures.as_ref().expect("it answers").get("holdfast_commands_total"), 5_040.0);
        assert_eq!(leader.rate("holdfast_commands_total"), Some(500.0));
        assert_eq!(picture.rate("holdfast_commands_total"), Some(1_000.0));
        assert!((leader.mean_ms("holdfast_proposal_seconds").expect("entries") - 4.0).abs() < 0.001);
        assert_eq!(picture.nodes[2].rate("holdfast_commands_total"), None);
        // A node that was started anew begins to count anew.
        let anew =
            NodePicture { before: Some((1.0, Figures::parse(&page(true, 9_000)))), ..self::picture().nodes.remove(0) };
        assert_eq!(anew.rate("holdfast_commands_total"), None);
    }
}
