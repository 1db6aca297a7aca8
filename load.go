package farmspec

import "time"

// LoadSchema is the version of a load report's JSON form. A reader refuses
// what it does not know.
const LoadSchema = "farmspec.load/v1"

// LoadReport is what a load run came to. It holds no secret. Two reports of
// the same plan can be merged exactly: counts add, and every histogram is kept
// whole in HdrHistogram's V2 log encoding.
type LoadReport struct {
	Schema string     `json:"schema"`
	Tool   Tool       `json:"tool"`
	Target TargetInfo `json:"target"`
	Plan   LoadPlan   `json:"plan"`
	Run    Run        `json:"run"`

	// Arrivals compares what was asked with what was done, after the warm-up.
	Arrivals LoadArrivals `json:"arrivals"`
	// Latency counts from the intended start of each page view, Service from
	// when a browser was free to begin it. Both are of views that were answered
	// or timed out.
	Latency LoadLatency `json:"latency"`
	Service LoadLatency `json:"service"`
	// Outcomes counts the arrivals that began by outcome: a Load constant, or
	// what kept an answer from coming.
	Outcomes map[string]uint64 `json:"outcomes"`
	Actions  []LoadRow         `json:"actions"`
	Members  []LoadRow         `json:"members"`
	// Intervals are in order, without gaps.
	Intervals []LoadInterval `json:"intervals"`
	Traffic   LoadTraffic    `json:"traffic"`
	Truth     LoadTruth      `json:"truth"`
	// Metrics are the farm's own numbers that changed, by name.
	Metrics []LoadMetric `json:"metrics,omitempty"`
	// Steps are the stages of a search for the highest rate, in the order run.
	Steps []LoadStep `json:"steps,omitempty"`
	// Notes say what a reader should know before trusting the numbers.
	Notes []string `json:"notes,omitempty"`
	Exit  int      `json:"exit"`
}

// The outcomes of a page view, a log-in or a log-out under load. Whatever
// else [LoadReport.Outcomes] has is no answer that a farm's session
// management gave: "connection refused", "timed out", "answered 503".
const (
	// LoadAccepted: served in full, to the right user.
	LoadAccepted = "accepted"
	// LoadHonest: refused as it had to be: closed, timed out, or second with a token.
	LoadHonest = "honest refusal"
	// LoadWrongRefusal: a fresh token refused (invariant I6).
	LoadWrongRefusal = "wrongful refusal"
	// LoadWrongAccept: a spent or closed token accepted (invariants I1 and I3).
	LoadWrongAccept = "wrongful acceptance"
	// LoadDoubtful: refused after an answer was lost, when nobody knows
	// whether the token had been replaced.
	LoadDoubtful = "refused in doubt"
	// LoadWrongUser: somebody else's page (invariant I8).
	LoadWrongUser = "wrong user"
	// LoadWrongState: a value written before and confirmed was not read back (invariant I7).
	LoadWrongState = "state lost"
)

// LoadPlan is what was asked for. Reports of equal plans may be merged and compared.
type LoadPlan struct {
	Engine string `json:"engine"`
	// Pacer says how the rate goes, for example "constant 100/s".
	Pacer    string        `json:"pacer"`
	Browsers int           `json:"browsers"`
	WarmUp   time.Duration `json:"warm_up_ns"`
	Duration time.Duration `json:"duration_ns"`
	Think    time.Duration `json:"think_ns"`
	Mix      string        `json:"mix"`
	// Connections is "keep" or "new".
	Connections string `json:"connections"`
	// Probe is how many page views in one are followed by a replay.
	Probe float64 `json:"probe"`
	Seed  uint64  `json:"seed"`
	// Shards are the parts that this report covers, of ShardsOf.
	Shards   []int `json:"shards"`
	ShardsOf int   `json:"shards_of"`
}

// LoadArrivals counts arrivals after the warm-up. Rates are per second.
type LoadArrivals struct {
	// Asked is how many were due; Begun how many found a free browser; Ended
	// how many of these came to an end; Missed how many never began.
	Asked  uint64 `json:"asked"`
	Begun  uint64 `json:"begun"`
	Ended  uint64 `json:"ended"`
	Missed uint64 `json:"missed"`
	// Late began more than [LoadLate] after their time.
	Late         uint64        `json:"late"`
	LatestBegin  time.Duration `json:"latest_begin_ns"`
	AskedRate    float64       `json:"asked_rate"`
	AchievedRate float64       `json:"achieved_rate"`
	// WarmUp counts the arrivals before, which are in no other number.
	WarmUp uint64 `json:"warm_up"`
}

// LoadLate is how long after its time an arrival counts as late.
const LoadLate = 10 * time.Millisecond

// LoadLatency sums up a histogram of nanoseconds.
type LoadLatency struct {
	Count uint64        `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	Min   time.Duration `json:"min_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	P9999 time.Duration `json:"p9999_ns"`
	Max   time.Duration `json:"max_ns"`
	// HDR is the histogram in HdrHistogram's compressed V2 encoding, base64; its unit is the nanosecond.
	HDR string `json:"hdr,omitempty"`
	// Curve are points of the distribution for a chart.
	Curve []LoadPoint `json:"curve,omitempty"`
}

// LoadPoint says that the share Quantile of all took at most At.
type LoadPoint struct {
	Quantile float64       `json:"q"`
	At       time.Duration `json:"ns"`
}

// LoadRow is the part of one action or one member.
type LoadRow struct {
	Name     string            `json:"name"`
	Count    uint64            `json:"count"`
	Outcomes map[string]uint64 `json:"outcomes"`
	Latency  LoadLatency       `json:"latency"`
}

// LoadInterval is a stretch of the run, the warm-up included. An arrival
// belongs to the stretch in which it was due.
type LoadInterval struct {
	At     time.Duration `json:"at_ns"`
	Length time.Duration `json:"length_ns"`
	Asked  uint64        `json:"asked"`
	// Ended are the answers that came within the stretch, whenever they were due.
	Ended    uint64            `json:"ended"`
	Missed   uint64            `json:"missed"`
	Outcomes map[string]uint64 `json:"outcomes"`
	Latency  LoadLatency       `json:"latency"`
	WarmUp   bool              `json:"warm_up,omitempty"`
}

// LoadMetric is a number that the farm tells of itself, summed over its labels
// and over the farm's parts, at instants from the start of the warm-up on.
type LoadMetric struct {
	Name string `json:"name"`
	// Counter says that it only grows, and that its growth is what counts.
	Counter bool            `json:"counter"`
	At      []time.Duration `json:"at_ns"`
	Values  []float64       `json:"values"`
}

// LoadTraffic is what went over the wire in the whole run: log-ins before it,
// warm-up and probes included.
type LoadTraffic struct {
	Requests    uint64 `json:"requests"`
	Connections uint64 `json:"connections"`
	BytesOut    uint64 `json:"bytes_out"`
	BytesIn     uint64 `json:"bytes_in"`
	// CPU is what this process spent, the farm included where it runs within.
	CPU time.Duration `json:"cpu_ns"`
	// LoadCPU and LoadRequests are the part of the time when arrivals were due:
	// without the log-ins before and the check of the history afterwards.
	LoadCPU      time.Duration `json:"load_cpu_ns"`
	LoadRequests uint64        `json:"load_requests"`
}

// LoadTruth is the conformance under load: a verdict of its own, whatever the
// numbers are. It covers the whole run, log-ins and warm-up included.
type LoadTruth struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	// Accepted and the refusals count single page views, log-ins and log-outs.
	Accepted        uint64 `json:"accepted"`
	HonestRefusals  uint64 `json:"honest_refusals"`
	WrongRefusals   uint64 `json:"wrongful_refusals"`
	Doubtful        uint64 `json:"refused_in_doubt"`
	WrongAccepts    uint64 `json:"wrongful_acceptances"`
	WrongUsers      uint64 `json:"wrong_users"`
	WrongStates     uint64 `json:"states_lost"`
	Unauthenticated uint64 `json:"served_without_session"`
	// Probes counts the spent and closed tokens presented on purpose and
	// answered, ProbesRefused those refused.
	Probes        uint64 `json:"probes"`
	ProbesRefused uint64 `json:"probes_refused"`
	// Bound is the share of spent tokens that may at most have been accepted,
	// with 95 % confidence; 1 where nothing was probed.
	Bound float64 `json:"bound"`
	// Sessions and Operations are those of the history that was checked;
	// Unkept are operations beyond its size.
	Sessions   int             `json:"sessions"`
	Operations int             `json:"operations"`
	Unkept     uint64          `json:"unkept"`
	Violations []LoadViolation `json:"violations,omitempty"`
	// MoreViolations counts those not listed.
	MoreViolations int `json:"more_violations,omitempty"`
}

// LoadViolation is a rule broken under load, with its evidence.
type LoadViolation struct {
	Invariant string        `json:"invariant"`
	Text      string        `json:"text"`
	At        time.Duration `json:"at_ns"`
}

// LoadStep is one stage of a search for the highest rate.
type LoadStep struct {
	Asked    float64       `json:"asked_rate"`
	Achieved float64       `json:"achieved_rate"`
	P99      time.Duration `json:"p99_ns"`
	// Failed is the share of arrivals that were missed or not served.
	Failed float64 `json:"failed"`
	OK     bool    `json:"ok"`
	// Why says which limit broke.
	Why string `json:"why,omitempty"`
}

// LoadProgress is told of a load run while it goes on. Its methods are called
// one at a time.
type LoadProgress interface {
	// Preparing is called as browsers log in.
	Preparing(done, of int)
	// Loading is called several times a second.
	Loading(n LoadNow)
	// Checking is called once, before the history is checked.
	Checking(operations int)
}

// LoadNow is a glance at a run.
type LoadNow struct {
	// At of Until have passed; WarmingUp says that nothing counts yet.
	At, Until time.Duration
	WarmingUp bool
	// Asked and Achieved are the rates, per second, of the last moment.
	Asked, Achieved float64
	// P50 and P99 are of the last moment, too.
	P50, P99 time.Duration
	// Busy of Browsers are under way; Waiting arrivals have none.
	Busy, Browsers, Waiting int
	// Since the start: answers that were no page, and broken rules.
	Failed, Wrong, Missed uint64
	Probes                uint64
	// Stage names a stage of a search, such as "step 3: 400/s".
	Stage string
}
