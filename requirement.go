package farmspec

// Requirement is one entry of the catalogue: something a farm must or should
// do, with its source. The catalogue itself is catalogue.yaml.
type Requirement struct {
	// ID is stable: WF-4.3, SY-14.1, AJ-3.4, ASVS-7.4.1.
	ID    string `yaml:"id"`
	Title string `yaml:"title"`
	// Section is web-farm, as-java, asvs, wstg, nist, rfc, servlet or sso.
	Section string `yaml:"section"`
	// Source cites the text: "claim 4", "Termination of security sessions, 1", "v5.0.0-7.4.1".
	Source string `yaml:"source"`
	// Strength is MUST, SHOULD or MAY.
	Strength string `yaml:"strength"`
	// Profile is claim or hardened: which of the two verdicts it counts for.
	Profile string `yaml:"profile"`
	// Claims are the claims, of all three forms, that it is an element of.
	Claims []int `yaml:"claims,omitempty"`
	// Levels says what each level of observation can see of it, in a few words.
	Levels map[Level]string `yaml:"levels"`
	// Unobservable says for a level why nothing seen there can confirm it. A
	// level that has an entry in Levels too can still refute it.
	Unobservable map[Level]string `yaml:"unobservable,omitempty"`
	// Modes names for a level of Unobservable the hand-off modes in which it
	// can confirm after all; see [Requirement.Unconfirmed].
	Modes map[Level][]Handoff `yaml:"modes,omitempty"`
	// Planned says what a scenario for it waits for; empty once it is tested.
	Planned string `yaml:"planned,omitempty"`
}

// The standings of a requirement in the suite.
const (
	LedgerTested  = "tested"
	LedgerPlanned = "planned"
	LedgerMissing = "missing" // neither tested nor planned: a gap
)

// LedgerEntry is a requirement with its standing.
type LedgerEntry struct {
	Requirement
	Status string
	// Why explains what is not tested.
	Why string
	// Scenarios are the IDs that test it.
	Scenarios []string
}

// ScenarioInfo is what a listing shows of a scenario.
type ScenarioInfo struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Feature      string   `json:"feature"`
	File         string   `json:"file"`
	Line         int      `json:"line"`
	Level        Level    `json:"level"`
	Requirements []string `json:"requirements"`
	Faults       []string `json:"faults,omitempty"`
	Tags         []string `json:"tags"`
}
