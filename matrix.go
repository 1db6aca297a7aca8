package farmspec

import "time"

// MatrixSchema is the version of the kill matrix's JSON form.
const MatrixSchema = "farmspec.mutants/v1"

// Matrix says which scenario convicts which fault: the proof that the judge's
// verdicts are able to fail.
type Matrix struct {
	Schema string `json:"schema"`
	Tool   Tool   `json:"tool"`
	// Command is the line that made it, without passwords.
	Command string        `json:"command"`
	Took    time.Duration `json:"took_ns"`
	Seed    uint64        `json:"seed"`
	Level   Level         `json:"level"`
	// Scenarios are the columns, by ID.
	Scenarios []MatrixScenario `json:"scenarios"`
	// Faults are the rows, by ID.
	Faults []FaultResult `json:"faults"`
	// Pairs are faults planted together, by their IDs.
	Pairs []PairResult `json:"pairs,omitempty"`
	// Unproven are the requirements with strength MUST that scenarios test
	// and no fault violates.
	Unproven []string `json:"unproven,omitempty"`
}

// MatrixScenario is a column: a scenario and how many faults it convicts.
type MatrixScenario struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Requirements []string `json:"requirements"`
	Kills        int      `json:"kills"`
}

// FaultState says what became of a fault.
type FaultState string

// The states of a fault.
const (
	// Killed: the scenario named for it says fail.
	Killed FaultState = "killed"
	// KilledByOthers: only scenarios that are not named for it say fail.
	KilledByOthers FaultState = "killed by others"
	// Survived: nothing says fail.
	Survived FaultState = "survived"
	// Equivalent: nothing that can be seen at this level tells it from a sound farm.
	Equivalent FaultState = "equivalent at this level"
)

// FaultResult is a row: a fault and what convicted it.
type FaultResult struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Violates  []string   `json:"violates"`
	Convicts  []string   `json:"convicts"`
	Level     Level      `json:"level"` // the lowest that convicts it
	Precedent string     `json:"precedent,omitempty"`
	Target    string     `json:"target"`
	State     FaultState `json:"state"`
	// Why explains what is not killed.
	Why string `json:"why,omitempty"`
	// KilledBy are the scenarios that said fail, by ID.
	KilledBy []string `json:"killed_by,omitempty"`
	// Reason is what the first of them saw.
	Reason string `json:"reason,omitempty"`
}

// PairResult is two faults in one farm.
type PairResult struct {
	First  string `json:"first"`
	Second string `json:"second"`
	// Masked are those of the two whose named scenarios no longer say fail.
	Masked []string `json:"masked,omitempty"`
	// Killed says whether anything still convicts the pair.
	Killed bool `json:"killed"`
}
