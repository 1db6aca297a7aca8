package farmspec

import "time"

// ReportSchema is the version of the report's JSON form. A reader refuses
// what it does not know.
const ReportSchema = "farmspec.results/v1"

// Report is the value a run returns. It holds no secret: tokens, cookies,
// passwords and hand-off parameters are digests already. The writers in
// package reports turn it into files and change nothing.
type Report struct {
	Schema string `json:"schema"`
	Tool   Tool   `json:"tool"`
	Run    Run    `json:"run"`
	// Targets are the farms judged: one, or several profiles of one.
	Targets []TargetInfo `json:"targets"`
	// Plan is every planned case, fixed before the first ran, sorted.
	Plan []CaseID `json:"plan"`
	// Results has one entry for each planned case, in the plan's order.
	Results []Result `json:"results"`
	// Left is what scenarios could not undo at the farms, with their IDs, sorted:
	// it is to be mended before the next run.
	Left []string `json:"left,omitempty"`
	// Requirements is the ledger: every catalogue ID with its verdict in this run, in catalogue order.
	Requirements []RequirementResult `json:"requirements"`
	// Claims is the table of the 34 claims, each with its ancestors.
	Claims []ClaimResult `json:"claims"`
	// ClaimConformant and Hardened are the two verdicts, never merged.
	ClaimConformant Verdict `json:"claim_conformant"`
	Hardened        Verdict `json:"hardened"`
	// Verdict is the run's, and Exit the code the command ends with.
	Verdict Verdict `json:"verdict"`
	Exit    int     `json:"exit"`
}

// Tool identifies the judge.
type Tool struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// Features is the digest of every feature file, hex SHA-256.
	Features string `json:"features"`
}

// Run says when, how and whether to the end.
type Run struct {
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took_ns"`
	Seed     uint64        `json:"seed"`
	Command  string        `json:"command"`
	Complete bool          `json:"complete"`
	// Why says why a run is incomplete.
	Why string `json:"why,omitempty"`
}

// TargetInfo describes a judged target without its secrets.
type TargetInfo struct {
	Name     string   `json:"name"`
	Product  string   `json:"product"`
	Version  string   `json:"version,omitempty"`
	Artefact string   `json:"artefact,omitempty"`
	Handoff  Handoff  `json:"handoff"`
	Rotation Rotation `json:"rotation"`
	Topology Topology `json:"topology"`
	Replay   Replay   `json:"replay"`
	Members  []string `json:"members"`
	Hooks    []string `json:"hooks"`
	Levels   []Level  `json:"levels"`
	// File is the target file that described it; empty for the reference.
	File string `json:"file,omitempty"`
}

// CaseID is one scenario on one target.
type CaseID struct {
	Scenario string `json:"scenario"`
	Target   string `json:"target"`
}

// Result is what a case came to.
type Result struct {
	CaseID
	Name         string   `json:"name"`
	Feature      string   `json:"feature"`
	File         string   `json:"file"`
	Line         int      `json:"line"`
	Requirements []string `json:"requirements"`
	Level        Level    `json:"level"`
	Faults       []string `json:"faults,omitempty"`
	Tags         []string `json:"tags"`

	Verdict Verdict `json:"verdict"`
	// Reason explains every verdict but a pass, in one or two sentences.
	Reason string        `json:"reason,omitempty"`
	Took   time.Duration `json:"took_ns"`
	Steps  []Step        `json:"steps"`
	Checks []Check       `json:"checks,omitempty"`
	// Exchanges are numbered from 1 in the order of their start; Step refers to Steps.
	Exchanges []ExchangeRecord `json:"exchanges,omitempty"`
	// ExchangesOmitted counts those left out of a long scenario's middle.
	ExchangesOmitted int `json:"exchanges_omitted,omitempty"`
	// Messages are what happened inside the farm, with the browser's own
	// requests among them, oldest first: the sequence diagram.
	Messages []MessageRecord `json:"messages,omitempty"`
	// Repeat is a command that repeats this case alone.
	Repeat string `json:"repeat"`
}

// Step is a Gherkin step as it went.
type Step struct {
	Keyword string        `json:"keyword"`
	Text    string        `json:"text"`
	Status  string        `json:"status"` // passed, failed, skipped, undefined
	Error   string        `json:"error,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// CheckKind says what part a check plays.
type CheckKind string

// The kinds of checks. A Refusal needs a Witness before it and a Survivor
// after it; being served needs the Contrast of somebody who is not.
const (
	Contrast    CheckKind = "contrast"
	Witness     CheckKind = "witness"
	Refusal     CheckKind = "refusal"
	Survivor    CheckKind = "survivor"
	Expectation CheckKind = "expectation"
)

// Check is one comparison of expected with actual.
type Check struct {
	Kind     CheckKind `json:"kind"`
	Step     int       `json:"step"` // index into Steps
	Expected string    `json:"expected"`
	Actual   string    `json:"actual"`
	OK       bool      `json:"ok"`
	// Exchange is the number of the exchange that shows it; zero for none.
	Exchange int `json:"exchange,omitempty"`
}

// ExchangeRecord is an [Exchange] fit for a report.
type ExchangeRecord struct {
	N             int           `json:"n"`
	Step          int           `json:"step"`
	Browser       string        `json:"browser"`
	Member        string        `json:"member,omitempty"`
	Offset        time.Duration `json:"offset_ns"` // since the scenario began
	Took          time.Duration `json:"took_ns"`
	Method        string        `json:"method"`
	URL           string        `json:"url"`
	RequestHeader []Header      `json:"request_header,omitempty"`
	RequestBody   string        `json:"request_body,omitempty"`
	Status        int           `json:"status,omitempty"`
	Header        []Header      `json:"header,omitempty"`
	Body          string        `json:"body,omitempty"`
	BodyBytes     int           `json:"body_bytes,omitempty"`
	Error         string        `json:"error,omitempty"`
}

// Header is one header line.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// MessageRecord is a [Message] fit for a report. The browser's requests and
// the members' answers are messages too, numbered like their exchange.
type MessageRecord struct {
	Offset   time.Duration `json:"offset_ns"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Op       string        `json:"op"`
	Detail   string        `json:"detail,omitempty"`
	OK       bool          `json:"ok"`
	Exchange int           `json:"exchange,omitempty"`
}

// RequirementResult is a requirement's verdict in a run.
type RequirementResult struct {
	ID      string  `json:"id"`
	Verdict Verdict `json:"verdict"`
	// Levels has the verdict by level of observation.
	Levels map[Level]Verdict `json:"levels,omitempty"`
	// Reason explains a verdict that is not a pass.
	Reason string `json:"reason,omitempty"`
	// Cases are the cases that decided it, sorted.
	Cases []CaseID `json:"cases,omitempty"`
}

// ClaimResult is a claim's verdict: the worst of its own requirements and its ancestors'.
type ClaimResult struct {
	Claim   int     `json:"claim"`
	Form    string  `json:"form"` // method, system or product
	Own     Verdict `json:"own"`
	Verdict Verdict `json:"verdict"` // with its ancestors
	// Closure lists the claim and its ancestors, ascending.
	Closure      []int    `json:"closure"`
	Requirements []string `json:"requirements"`
	// Levels says what each level of observation showed.
	Levels map[Level]Verdict `json:"levels,omitempty"`
	Reason string            `json:"reason,omitempty"`
}

// Progress is told of a run while it goes on. Its methods are called one at a
// time.
type Progress interface {
	// Planned is called once, before the first case.
	Planned(cases int, targets []TargetInfo)
	// Began and Ended are called for each case.
	Began(c CaseID)
	Ended(r *Result)
	// Waiting is called when a case begins or ends to wait for the farm's
	// time, and each second meanwhile, with all that wait: the soonest to end
	// first.
	Waiting(waits []Wait)
}

// Wait is a case that waits for the farm's time to pass.
type Wait struct {
	CaseID
	Until time.Time
}
