package reports

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/farmspec/farmspec"
)

// The files that [WriteMatrix] leaves in its folder.
const (
	MatrixFile     = "mutants.json"
	MatrixPageFile = "mutants.html"
)

//go:embed mutants.schema.json
var matrixSchema []byte

var compiledMatrix = sync.OnceValue(func() *jsonschema.Schema { return compile("mutants.schema.json", matrixSchema) })

// WriteMatrix writes the kill matrix as mutants.json and mutants.html into
// dir, both or neither, as [Write] does, and returns their paths. A matrix
// that contradicts itself is an error.
func WriteMatrix(dir string, m *farmspec.Matrix) ([]string, error) {
	files, err := renderMatrix(m, theCatalogue())
	if err == nil {
		err = writeFiles(disk{}, dir, files)
	}
	if err != nil {
		return nil, fmt.Errorf("write kill matrix to %s: %w", dir, err)
	}
	return []string{filepath.Join(dir, MatrixFile), filepath.Join(dir, MatrixPageFile)}, nil
}

func renderMatrix(m *farmspec.Matrix, c catalogue) ([]file, error) {
	if err := checkMatrix(m); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(completeMatrix(m)); err != nil {
		return nil, err
	}
	page, err := matrixPage(newMatrixView(m, c))
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", MatrixPageFile, err)
	}
	return []file{{MatrixPageFile, whole(page)}, {MatrixFile, whole(text.Bytes())}}, nil
}

// completeMatrix returns a copy in which every list the schema asks for is
// there, if empty.
func completeMatrix(m *farmspec.Matrix) *farmspec.Matrix {
	c := *m
	c.Schema = farmspec.MatrixSchema
	c.Scenarios = slices.Clone(m.Scenarios)
	for i := range c.Scenarios {
		c.Scenarios[i].Requirements = list(c.Scenarios[i].Requirements)
	}
	c.Faults = slices.Clone(m.Faults)
	for i := range c.Faults {
		f := &c.Faults[i]
		f.Violates, f.Convicts = list(f.Violates), list(f.Convicts)
	}
	c.Scenarios, c.Faults = list(c.Scenarios), list(c.Faults)
	return &c
}

// ReadMatrix reads a mutants.json that [WriteMatrix] made, as strictly as
// [Read]: beside the schema, the matrix must agree with itself.
func ReadMatrix(path string) (*farmspec.Matrix, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read kill matrix: %w", err)
	}
	m, err := parseMatrix(text)
	if err != nil {
		return nil, fmt.Errorf("read kill matrix %s: %w", path, err)
	}
	return m, nil
}

func parseMatrix(text []byte) (*farmspec.Matrix, error) {
	var m farmspec.Matrix
	if err := decode(text, "kill matrix", "mutants", farmspec.MatrixSchema, compiledMatrix(), &m); err != nil {
		return nil, err
	}
	if err := checkMatrix(&m); err != nil {
		return nil, err
	}
	return &m, nil
}

// checkMatrix tells whether the parts of a matrix agree: every ID once and
// known, each state and each count what the kills say.
func checkMatrix(m *farmspec.Matrix) error {
	kills := map[string]int{}
	for _, s := range m.Scenarios {
		if _, twice := kills[s.ID]; twice {
			return fmt.Errorf("scenario %s is there twice", s.ID)
		}
		kills[s.ID] = 0
	}
	faults := map[string]bool{}
	for i := range m.Faults {
		f := &m.Faults[i]
		if faults[f.ID] {
			return fmt.Errorf("fault %s is there twice", f.ID)
		}
		faults[f.ID] = true
		seen := map[string]bool{}
		named := false
		for _, id := range f.KilledBy {
			if _, known := kills[id]; !known || seen[id] {
				return fmt.Errorf("fault %s is killed by %s, which is no scenario of the matrix or counted twice", f.ID, id)
			}
			seen[id] = true
			kills[id]++
			named = named || isNamed(f, id)
		}
		fits := false
		switch f.State {
		case farmspec.Killed:
			fits = named
		case farmspec.KilledByOthers:
			fits = len(f.KilledBy) > 0 && !named
		case farmspec.Survived, farmspec.Equivalent:
			fits = len(f.KilledBy) == 0
		}
		if !fits {
			return fmt.Errorf("fault %s is %q and %s of its %s are named for it", f.ID, f.State, map[bool]string{true: "some", false: "none"}[named], count(len(f.KilledBy), "kill"))
		}
	}
	for _, s := range m.Scenarios {
		if s.Kills != kills[s.ID] {
			return fmt.Errorf("scenario %s has %d kills by its own count and %d by the faults'", s.ID, s.Kills, kills[s.ID])
		}
	}
	for _, p := range m.Pairs {
		for _, id := range append([]string{p.First, p.Second}, p.Masked...) {
			if !faults[id] {
				return fmt.Errorf("the pair of %s and %s names %s, which is no fault of the matrix", p.First, p.Second, id)
			}
		}
		for _, id := range p.Masked {
			if id != p.First && id != p.Second {
				return fmt.Errorf("the pair of %s and %s masks %s, which is neither", p.First, p.Second, id)
			}
		}
	}
	return nil
}

// isNamed reports whether the scenario, or the outline it is a row of, is
// named for the fault.
func isNamed(f *farmspec.FaultResult, scenario string) bool {
	outline, _, _ := strings.Cut(scenario, "/")
	return slices.Contains(f.Convicts, scenario) || slices.Contains(f.Convicts, outline)
}

// matrixView is a kill matrix arranged for reading.
type matrixView struct {
	*farmspec.Matrix
	scenarios   map[string]farmspec.MatrixScenario
	faults      map[string]farmspec.FaultResult
	requirement map[string]farmspec.Requirement
}

func newMatrixView(m *farmspec.Matrix, c catalogue) *matrixView {
	v := &matrixView{
		Matrix:      m,
		scenarios:   map[string]farmspec.MatrixScenario{},
		faults:      map[string]farmspec.FaultResult{},
		requirement: map[string]farmspec.Requirement{},
	}
	for _, s := range m.Scenarios {
		v.scenarios[s.ID] = s
	}
	for _, f := range m.Faults {
		v.faults[f.ID] = f
	}
	for _, q := range c.requirements {
		v.requirement[q.ID] = q
	}
	return v
}

// states are listed with what needs attention first.
var states = []farmspec.FaultState{farmspec.Survived, farmspec.KilledByOthers, farmspec.Killed, farmspec.Equivalent}

// stateVerdict is how a state is coloured.
func stateVerdict(s farmspec.FaultState) farmspec.Verdict {
	switch s {
	case farmspec.Killed:
		return farmspec.Pass
	case farmspec.KilledByOthers:
		return farmspec.Flaky
	case farmspec.Survived:
		return farmspec.Fail
	}
	return farmspec.Unobservable
}

func (v *matrixView) inState(s farmspec.FaultState) []farmspec.FaultResult {
	return slices.DeleteFunc(slices.Clone(v.Faults), func(f farmspec.FaultResult) bool { return f.State != s })
}

// missed are the faults that should have been killed by the scenarios named for them.
func (v *matrixView) missed() []farmspec.FaultResult {
	return append(v.inState(farmspec.Survived), v.inState(farmspec.KilledByOthers)...)
}

// rate is "97 of 98 faults that this level can show are killed by a scenario named for them".
func (v *matrixView) rate() (killed, of int) {
	return len(v.inState(farmspec.Killed)), len(v.Faults) - len(v.inState(farmspec.Equivalent))
}

func (v *matrixView) stateTally() string {
	var parts []string
	for _, s := range states {
		if n := len(v.inState(s)); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// masking are the pairs in which a fault hides the other.
func (v *matrixView) masking() []farmspec.PairResult {
	return slices.DeleteFunc(slices.Clone(v.Pairs), func(p farmspec.PairResult) bool { return len(p.Masked) == 0 })
}

// maskedSentence says what a pair that masks came to.
func maskedSentence(p farmspec.PairResult) string {
	what := "hides " + p.Masked[0]
	if len(p.Masked) > 1 {
		return "each hides the other: nothing convicts the pair"
	}
	by := p.First
	if p.Masked[0] == p.First {
		by = p.Second
	}
	if !p.Killed {
		return by + " " + what + ", and nothing convicts the pair"
	}
	return by + " " + what + "; the pair is still convicted"
}

// idle are the scenarios that convict no fault.
func (v *matrixView) idle() []farmspec.MatrixScenario {
	return slices.DeleteFunc(slices.Clone(v.Scenarios), func(s farmspec.MatrixScenario) bool { return s.Kills > 0 })
}

// why explains a fault that is not killed as it should be.
func why(f farmspec.FaultResult) string {
	text := oneLine(f.Why)
	if text == "" && f.State == farmspec.Survived {
		text = "no scenario says fail"
	}
	if len(f.Convicts) > 0 && f.State != farmspec.Equivalent {
		text += "; named for it: " + strings.Join(f.Convicts, ", ")
	}
	if len(f.KilledBy) > 0 {
		text += "; killed by: " + strings.Join(f.KilledBy, ", ")
	}
	return oneLine(strings.TrimPrefix(text, "; "))
}

// matrixExit is what the command ends with, and what that means.
func (v *matrixView) exit() (int, string) {
	if len(v.missed()) > 0 {
		return farmspec.ExitNonconformant, "the judge is not proven: a fault it could see is not convicted by a scenario named for it"
	}
	return farmspec.ExitConformant, "proven: every fault that this level can show is convicted by a scenario named for it"
}

// ClosingMatrix writes what the kill matrix came to: the faults that are not
// killed as they should be, the pairs that mask, the requirements and
// scenarios without proof, the totals, the files and the meaning of the exit
// code. No line that can be broken is longer than the terminal (80 columns at
// least), or than 100 columns.
func ClosingMatrix(w io.Writer, m *farmspec.Matrix, t Terminal, files ...string) error {
	return closingMatrix(w, newMatrixView(m, theCatalogue()), t, files)
}

func closingMatrix(w io.Writer, v *matrixView, t Terminal, files []string) error {
	m := v.Matrix
	s := newSheet(t)
	const shown = 40
	section := func(title string, n int, each func(i int)) {
		if n == 0 {
			return
		}
		s.title(title)
		for i := range min(n, shown) {
			each(i)
		}
		if n > shown {
			s.p("and %d more; %s has them all", n-shown, MatrixPageFile)
		}
	}

	missed := v.missed()
	section("Not convicted by the scenarios named for them", len(missed), func(i int) {
		f := missed[i]
		s.entry(stateVerdict(f.State), string(f.State), fmt.Sprintf("%s %s (%s, on %s)", f.ID, oneLine(f.Name), strings.Join(f.Violates, ", "), oneLine(f.Target)))
		s.entry("", "", why(f))
	})
	equivalent := v.inState(farmspec.Equivalent)
	section("Not to be told from a sound farm at level "+string(m.Level), len(equivalent), func(i int) {
		f := equivalent[i]
		s.entry(stateVerdict(f.State), f.ID, oneLine(f.Name)+": "+why(f))
	})
	masking := v.masking()
	section("Pairs that mask", len(masking), func(i int) {
		s.entry(farmspec.Warn, masking[i].First+" + "+masking[i].Second, maskedSentence(masking[i]))
	})
	section("Requirements that no fault proves", len(m.Unproven), func(i int) {
		s.entry(farmspec.Warn, m.Unproven[i], v.requirement[m.Unproven[i]].Title)
	})
	idle := v.idle()
	section("Scenarios that convict nothing", len(idle), func(i int) {
		s.beside("", "  ", oneLine(idle[i].ID)+": "+oneLine(idle[i].Name))
	})

	s.p("")
	killed, of := v.rate()
	code, meaning := v.exit()
	verdict := farmspec.Pass
	if code != 0 {
		verdict = farmspec.Fail
	}
	s.entry(verdict, fmt.Sprintf("%d of %d killed", killed, of), fmt.Sprintf("%s in %s at level %s, seed %d: %s",
		count(len(m.Faults), "fault"), took(m.Took), m.Level, m.Seed, v.stateTally()))
	s.entry("", "Scenarios", fmt.Sprintf("%d of %d convict something", len(m.Scenarios)-len(idle), len(m.Scenarios)))
	if len(m.Pairs) > 0 {
		s.entry("", "Pairs", fmt.Sprintf("%d tried, %d mask", len(m.Pairs), len(masking)))
	}
	s.files("Matrix", files)
	s.entry("", "Exit", fmt.Sprintf("%d, %s", code, meaning))
	_, err := w.Write(s.Bytes())
	return err
}
