//! A headless Chromium, driven as a person would: by labels, words on buttons, and keys.
//!
//! Everything waits for what it asks for, as pages load and update by themselves. What is asked for twice is looked up twice:
//! an update may have replaced the element meanwhile.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Url;
use serde_json::{Value, json};

use super::{WAIT, program};

/// What a page is given to show something.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const STARTS_MAX: usize = 5;

/// The driver's process; browsers are opened through it.
pub struct Driver {
    url: String,
    _process: Guarded,
}

/// What a visitor's device is like.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    pub width: u32,
    pub height: u32,
    pub phone: bool,
    pub dark: bool,
    pub scripts: bool,
}

pub const DESK: Device = Device { width: 1280, height: 900, phone: false, dark: false, scripts: true };
pub const PHONE: Device = Device { width: 360, height: 740, phone: true, ..DESK };
pub const DARK: Device = Device { dark: true, ..DESK };
pub const NO_SCRIPTS: Device = Device { scripts: false, ..DESK };

/// One browser with a profile of its own, looking at one site.
pub struct Browser {
    client: Client,
    site: String,
}

impl Driver {
    pub async fn start(dir: &Path) -> Driver {
        let driver = tools::find("chromedriver", &program()).expect("the test tools");
        let log = dir.join("chromedriver.log");
        // It picks a port for one family of addresses, which may be taken for the other: then it ends, and another one starts.
        for _ in 0..STARTS_MAX {
            let mut process =
                Guarded::start(&program(), &driver, ["--port=0"], &[], &log).expect("chromedriver starts");
            if let Ok(line) = process.wait_for_line("started successfully on port ", WAIT).await {
                let port = line.rsplit(' ').next().expect("a port").trim_end_matches('.');
                return Driver { url: format!("http://127.0.0.1:{port}"), _process: process };
            }
        }
        panic!("chromedriver does not start: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// A fresh browser at `site`.
    pub async fn open(&self, site: &str, device: Device) -> Browser {
        let size = format!("--window-size={},{}", device.width, device.height);
        let options = json!({
            "binary": tools::find("chromium", &program()).expect("the test tools"),
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--disable-background-networking", "--no-first-run", "--lang=en-GB", size],
        });
        let mut capabilities = fantoccini::wd::Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.url)
            .await
            .expect("a browser opens");
        let browser = Browser { client, site: site.trim_end_matches('/').to_string() };
        browser.pretend(device).await;
        browser
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Chromium {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

impl Browser {
    async fn pretend(&self, device: Device) {
        let scheme = if device.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tell("Emulation.setEmulatedMedia", media).await;
        let scale = if device.phone { 2 } else { 1 };
        let screen = json!({ "width": device.width, "height": device.height, "deviceScaleFactor": scale, "mobile": device.phone });
        self.tell("Emulation.setDeviceMetricsOverride", screen).await;
        if !device.scripts {
            self.tell("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
        }
    }

    async fn tell(&self, command: &'static str, parameters: Value) {
        self.client.issue_cmd(Chromium { command, parameters }).await.expect(command);
    }

    /// A second tab of the same browser, which is looked at from now on.
    pub async fn second_tab(&self, device: Device) {
        let tab = self.client.new_window(true).await.expect("a tab");
        self.client.switch_to_window(tab.handle).await.expect("the tab");
        self.pretend(device).await;
    }

    /// Looks at the first tab again.
    pub async fn first_tab(&self) {
        let first = self.client.windows().await.expect("tabs").remove(0);
        self.client.switch_to_window(first).await.expect("the tab");
    }

    /// Goes to a path of the site.
    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.site)).await.expect(path);
    }

    /// Goes on at another node of the same cluster; cookies are the host's, so the session stays.
    pub fn at(&mut self, site: &str) {
        self.site = site.trim_end_matches('/').to_string();
    }

    pub async fn reload(&self) {
        self.client.refresh().await.expect("reloads");
    }

    /// The path, with its query, that is shown.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("a URL");
        url.query().map_or(url.path().to_string(), |query| format!("{}?{query}", url.path()))
    }

    pub async fn wait_for_path(&self, wanted: impl Fn(&str) -> bool, what: &str) -> String {
        let started = Instant::now();
        loop {
            let path = self.path().await;
            if wanted(&path) {
                return path;
            }
            if started.elapsed() > PATIENCE {
                panic!("waited for {what}, still at {path}:\n{}", self.words().await);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Everything that can be read on the page.
    pub async fn words(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says `words`.
    pub async fn wait_for(&self, words: &str) {
        self.wait_until(words, |said| said.contains(words)).await;
    }

    pub async fn wait_until(&self, what: &str, reached: impl Fn(&str) -> bool) {
        let started = Instant::now();
        loop {
            let said = self.words().await;
            if reached(&said) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "waited for {what:?} at {}:\n{said}", self.path().await);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until the page knows its visitor; on a phone, the way out is in a menu.
    pub async fn wait_until_signed_in(&self) {
        let started = Instant::now();
        while !self.has("form[action='/auth/signout']").await {
            assert!(started.elapsed() < PATIENCE, "not signed in at {}:\n{}", self.path().await, self.words().await);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    pub async fn says(&self, words: &str) -> bool {
        self.words().await.contains(words)
    }

    /// Waits for an element that can be seen.
    pub async fn find(&self, search: Locator<'_>) -> Element {
        let started = Instant::now();
        loop {
            let found = self.client.find_all(search).await.unwrap_or_default();
            for element in found {
                if element.is_displayed().await.unwrap_or(false) {
                    return element;
                }
            }
            if started.elapsed() > PATIENCE {
                panic!("no {search:?} at {}:\n{}", self.path().await, self.words().await);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    pub async fn css(&self, selector: &str) -> Element {
        self.find(Locator::Css(selector)).await
    }

    pub async fn has(&self, selector: &str) -> bool {
        !self.client.find_all(Locator::Css(selector)).await.unwrap_or_default().is_empty()
    }

    /// Presses the button, or follows the link, that is called `name`.
    pub async fn press(&self, name: &str) {
        let search = format!(
            "//button[normalize-space()='{name}'] | //a[normalize-space()='{name}'] | //summary[normalize-space()='{name}'] \
             | //a[.//*[normalize-space()='{name}']] | //*[@aria-label='{name}']"
        );
        let started = Instant::now();
        loop {
            match self.find(Locator::XPath(&search)).await.click().await {
                Ok(()) => return,
                // It was replaced, or something lay over it, between looking and clicking.
                Err(error) => assert!(started.elapsed() < PATIENCE, "{name}: {error}"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The field with this label.
    pub async fn field(&self, label: &str) -> Element {
        let search = format!(
            "//*[@id=//label[starts-with(normalize-space(), '{label}')]/@for] | //label[starts-with(normalize-space(), '{label}')]//input"
        );
        self.find(Locator::XPath(&search)).await
    }

    /// Types into the field with this label, in place of what stands there.
    pub async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect(label);
        field.send_keys(text).await.expect(label);
    }

    /// Presses keys where the focus is.
    pub async fn keys(&self, keys: &str) {
        let focus = self.client.active_element().await.expect("a focus");
        focus.send_keys(keys).await.expect("keys");
    }

    /// Presses Tab until the focus is on what is called `name`; fails when the page has no more to offer.
    pub async fn tab_to(&self, name: &str) {
        const STOPS_MAX: usize = 80;
        for _ in 0..STOPS_MAX {
            self.keys("\u{e004}").await;
            let script = "const e = document.activeElement; const l = e.labels && e.labels[0]; \
                          return (l ? l.innerText : (e.getAttribute('aria-label') || e.innerText || '')).trim()";
            let focused = self.run(script).await;
            if focused.as_str().is_some_and(|focused| focused.starts_with(name)) {
                return;
            }
        }
        panic!("Tab never came to {name:?} at {}:\n{}", self.path().await, self.words().await);
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// The page as a picture, whole: PNG.
    pub async fn picture(&self) -> Result<Vec<u8>, CmdError> {
        let shot = self
            .client
            .issue_cmd(Chromium {
                command: "Page.captureScreenshot",
                parameters: json!({ "format": "png", "captureBeyondViewport": true }),
            })
            .await?;
        let text = shot["data"].as_str().unwrap_or_default();
        Ok(STANDARD.decode(text).expect("base64"))
    }

    /// What axe-core finds wrong on this page for somebody who cannot see it, or uses no mouse: one line each.
    pub async fn violations(&self) -> Vec<String> {
        let axe =
            std::fs::read_to_string(tools::find("axe.min.js", &program()).expect("the test tools")).expect("text");
        self.client.execute(&axe, Vec::new()).await.expect("axe-core loads");
        let script = "const done = arguments[arguments.length - 1]; \
                      const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']; \
                      axe.run(document, { runOnly: { type: 'tag', values: tags } }).then(found => done(found.violations.flatMap( \
                        rule => rule.nodes.map(node => rule.id + ': ' + node.target.join(' ') + ': ' + node.failureSummary)))) \
                      .catch(error => done(['axe: ' + error]))";
        let found = self.client.execute_async(script, Vec::new()).await.expect("axe-core runs");
        let lines = found.as_array().expect("a list");
        lines.iter().map(|line| line.as_str().unwrap_or_default().replace('\n', " ")).collect()
    }

    pub async fn close(self) {
        // The driver ends it in any case.
        let _ = self.client.close().await;
    }
}
