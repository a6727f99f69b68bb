//! What a look is drawn as.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};

use super::look::{Figures, NodePicture, Picture};

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let nodes = u16::try_from(picture.nodes.len()).unwrap_or(u16::MAX).saturating_add(3);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(nodes),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Min(0),
    ]);
    let [head, table, ledger, work, foot] = areas.areas(frame.area());
    frame.render_widget(headline(picture), head);
    frame.render_widget(node_table(picture), table);
    let nothing = Figures::default();
    let best = picture.best();
    let figures = best.and_then(|node| node.figures.as_ref()).unwrap_or(&nothing);
    draw_ledger(frame, ledger, figures);
    draw_work(frame, work, picture, best);
    frame.render_widget(Paragraph::new("q ends it").dim(), foot);
}

fn headline(picture: &Picture) -> Line<'static> {
    let answering: Vec<&Figures> = picture.nodes.iter().filter_map(|node| node.figures.as_ref()).collect();
    let ready = answering.iter().filter(|figures| figures.holds("holdfast_ready")).count();
    let leads = answering.iter().any(|figures| figures.holds("holdfast_is_leader"));
    let faults = answering.iter().filter(|figures| figures.holds("holdfast_fault")).count();
    let violated: f64 = answering.iter().map(|figures| figures.get("holdfast_invariants_violated")).sum();
    let verdict = match (leads, faults, violated > 0.0) {
        (_, _, true) => {
            Span::styled("AN INVARIANT IS BROKEN", Style::new().fg(Color::Red).add_modifier(Modifier::BOLD))
        }
        (_, 1.., _) => Span::styled("a node has a fault", Style::new().fg(Color::Red)),
        (false, _, _) => Span::styled("no leader among them", Style::new().fg(Color::Red)),
        (true, 0, false) if ready < picture.nodes.len() => Span::styled("degraded", Style::new().fg(Color::Yellow)),
        (true, 0, false) => Span::styled("healthy", Style::new().fg(Color::Green)),
    };
    Line::from(vec![
        Span::raw("Holdfast  ").bold(),
        Span::raw(format!("{ready} of {} nodes ready  ", picture.nodes.len())),
        verdict,
    ])
}

fn node_table(picture: &Picture) -> Table<'static> {
    let header = ["node", "role", "term", "log", "committed", "applied", "behind", "snapshot", "sync ms", "requests/s"];
    let most = picture.best().and_then(|node| node.figures.as_ref());
    let newest = most.map_or(0.0, |figures| figures.get("holdfast_last_log_index"));
    let rows = picture.nodes.iter().map(|node| node_row(node, newest));
    let widths = [21, 9, 6, 10, 10, 10, 8, 10, 8, 10].map(Constraint::Length);
    Table::new(rows.collect::<Vec<_>>(), widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::bordered().title(" nodes "))
}

fn node_row(node: &NodePicture, newest: f64) -> Row<'static> {
    let Some(figures) = &node.figures else {
        let away = Cell::from("away").style(Style::new().fg(Color::Red));
        return Row::new(vec![Cell::from(node.operator.clone()), away]);
    };
    let role = match () {
        () if figures.holds("holdfast_fault") => "fault",
        () if figures.holds("holdfast_is_leader") => "leader",
        () if !figures.holds("holdfast_ready") => "not ready",
        () => "follower",
    };
    let applied = figures.get("holdfast_applied_index");
    Row::new(vec![
        Cell::from(node.operator.clone()),
        Cell::from(role),
        Cell::from(whole(figures.get("holdfast_term"))),
        Cell::from(whole(figures.get("holdfast_last_log_index"))),
        Cell::from(whole(figures.get("holdfast_committed_index"))),
        Cell::from(whole(applied)),
        Cell::from(whole((newest - applied).max(0.0))),
        Cell::from(whole(figures.get("holdfast_snapshot_index"))),
        Cell::from(shown(node.mean_ms("holdfast_log_sync_seconds"))),
        Cell::from(shown(node.rate("holdfast_http_requests_total"))),
    ])
}

fn draw_ledger(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let [tickets, events] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
    let lines = [
        ("tickets", whole(figures.get("holdfast_tickets"))),
        ("sold", whole(figures.get("holdfast_tickets_sold"))),
        ("locked", whole(figures.get("holdfast_locks_live"))),
        ("orders live", whole(figures.get("holdfast_orders_live"))),
        ("orders paid", whole(figures.get("holdfast_orders_complete"))),
    ];
    frame.render_widget(list(" ledger ", &lines), tickets);
    let checked = match figures.get("holdfast_invariant_checks_total") {
        0.0 => "not checked since the start".to_string(),
        _ => format!("{} broken at the last check", whole(figures.get("holdfast_invariants_violated"))),
    };
    let lines = [
        ("payments open", whole(figures.get("holdfast_payments_open"))),
        ("events", whole(figures.get("holdfast_events_emitted"))),
        ("events waiting", whole(figures.get("holdfast_events_waiting"))),
        ("locks late by", format!("{:.1} s", figures.get("holdfast_lock_expiry_lag_seconds"))),
        ("invariants", checked),
    ];
    frame.render_widget(list(" payments, events ", &lines), events);
}

fn draw_work(frame: &mut Frame<'_>, area: Rect, picture: &Picture, best: Option<&NodePicture>) {
    let [rates, stages] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
    let lines = [
        ("commands/s", shown(picture.rate("holdfast_commands_total"))),
        ("refused/s", shown(picture.rate("holdfast_commands_total{outcome=\"refused\"}"))),
        ("requests/s", shown(picture.rate("holdfast_http_requests_total"))),
        ("events/s", shown(picture.rate("holdfast_events_published_total"))),
    ];
    frame.render_widget(list(" a second ", &lines), rates);
    let mean = |name: &str| shown(best.and_then(|node| node.mean_ms(name)));
    let slow = best
        .and_then(|node| node.figures.as_ref())
        .map_or(0.0, |figures| figures.get("holdfast_slow_operations_total"));
    let lines = [
        ("a proposal, ms", mean("holdfast_proposal_seconds")),
        ("sync, ms", mean("holdfast_log_sync_seconds")),
        ("apply, ms", mean("holdfast_apply_seconds")),
        ("slow operations", whole(slow)),
    ];
    frame.render_widget(list(" on the leader ", &lines), stages);
}

fn list(title: &'static str, lines: &[(&'static str, String)]) -> Paragraph<'static> {
    let lines: Vec<Line<'static>> =
        lines.iter().map(|(name, value)| Line::from(format!("{name:<16} {value}"))).collect();
    Paragraph::new(lines).block(Block::bordered().title(title))
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// A number that may not be known.
fn shown(value: Option<f64>) -> String {
    value.map_or("-".to_string(), |value| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") })
}
