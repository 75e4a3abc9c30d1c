import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "./style.css";
import { About } from "./about.jsx";
import { hasKey, onKey, readOnce, setKey } from "./api.js";
import { below, ownPath } from "./base.js";
import { BesidePage } from "./beside.jsx";
import { JobPage, JobsPage } from "./jobs.jsx";
import { NeuronPage } from "./neuron.jsx";
import { NeuronsPage } from "./neurons.jsx";
import { useTitle } from "./parts.jsx";
import { Address, Link, useAddressState } from "./router.jsx";
import { SignIn } from "./signin.jsx";
import { SubmitPage } from "./submit.jsx";

const JOB = "/ui/jobs/(job_[0-9a-f]{28})";
const VIEWS = [
  ["/|/ui|/ui/jobs", () => <JobsPage />],
  ["/ui/new", () => <SubmitPage />],
  ["/ui/about", () => <About />],
  ["/ui/sign-in", () => <SignIn />],
  [JOB, ([job]) => <JobPage key={job} id={job} />],
  [`${JOB}/beside`, ([job]) => <BesidePage key={job} job={job} />],
  [`${JOB}/neurons`, ([job]) => <NeuronsPage key={job} job={job} />],
  [`${JOB}/neurons/(\\d+)/(\\d+)`, ([job, l, n]) => <NeuronPage key={`${job} ${l} ${n}`} job={job} layer={+l} neuron={+n} />],
].map(([pattern, view]) => [new RegExp(`^(?:${pattern})/?$`), view]);

const NOTHING = () => <NotThere />;

function choose(path) {
  for (const [pattern, view] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return () => view(found.slice(1));
  }
  return NOTHING;
}

function NotThere() {
  useTitle("Not found");
  return (
    <>
      <h1>Nothing is here</h1>
      <p>The address leads to no view. <Link to="/ui/jobs">To the jobs</Link></p>
    </>
  );
}

const THEMES = { system: "As the system", light: "Light", dark: "Dark" };

const THEME = "polyseme-theme";
const wear = (theme) => (document.documentElement.dataset.theme = theme);

function Theme() {
  const [theme, set] = useState(document.documentElement.dataset.theme);
  const choose = (chosen) => {
    set(wear(chosen));
    localStorage.setItem(THEME, chosen);
  };
  return (
    <label class="theme">
      Colours{" "}
      <select value={theme} onChange={(e) => choose(e.target.value)}>
        {Object.entries(THEMES).map(([value, text]) => <option key={value} value={value}>{text}</option>)}
      </select>
    </label>
  );
}

function Navigation({ path, isKeyed }) {
  const current = (to) => (path === to || (to === "/ui/jobs" && path === "/") ? "page" : undefined);
  const items = [["/ui/jobs", "Jobs"], ["/ui/new", "New analysis"], ["/ui/about", "What is this?"]];
  return (
    <nav aria-label="Main">
      {items.map(([to, text]) => <Link key={to} to={to} aria-current={current(to)}>{text}</Link>)}
      <a href={below("/guide")}>Docs</a>
      <a href={below("/docs")}>API</a>
      {isKeyed
        ? <button type="button" class="plain" onClick={() => setKey(null)}>Sign out</button>
        : <Link to="/ui/sign-in" aria-current={current("/ui/sign-in")}>Sign in</Link>}
    </nav>
  );
}

function App() {
  const address = useAddressState();
  const [keyed, setKeyed] = useState(hasKey);
  const [turn, setTurn] = useState(0);
  const main = useRef();
  const first = useRef(true);
  useEffect(() => onKey(() => (setKeyed(hasKey()), setTurn((t) => t + 1))), []);
  useEffect(() => {
    // A screen reader goes on at the new view, as after loading a page.
    if (!first.current) {
      main.current.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    first.current = false;
  }, [address.path]);
  const View = choose(address.path);
  return (
    <Address.Provider value={address}>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), main.current.focus())}>To the content</a>
      <header>
        <Link to="/ui/jobs" class="brand"><img src={below("/static/icon.svg")} alt="" width="24" height="24" /> Polyseme</Link>
        <Navigation path={address.path} isKeyed={keyed} />
      </header>
      <main id="main" tabIndex={-1} ref={main} key={turn}>{View()}</main>
      <footer><Theme /><span>Every view is read from the <a href={below("/docs")}>public API</a>.</span></footer>
    </Address.Provider>
  );
}

// The browser has asked for a neuron's report before this script was there. Waited for a moment, it is in the first frame.
const PATIENCE_MS = 200;
const neuron = /^\/ui(\/jobs\/job_[0-9a-f]{28}\/neurons\/\d+\/\d+)\/?$/.exec(ownPath());
const report = neuron && readOnce(`/v1${neuron[1]}`).catch(() => {});
wear(localStorage.getItem(THEME) ?? "system");
if (report) await Promise.race([report, new Promise((go) => setTimeout(go, PATIENCE_MS))]);

render(<App />, document.getElementById("app"));
