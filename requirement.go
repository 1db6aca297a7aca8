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
	// Contrary says of hand-off modes why a farm that declares one breaks the
	// requirement by that alone; see requirements D2.
	Contrary map[Handoff]string `yaml:"contrary,omitempty"`
	// Planned says what a scenario for it waits for; empty once it is tested.
	Planned string `yaml:"planned,omitempty"`
}
