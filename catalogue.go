package farmspec

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// catalogueYAML is the catalogue; its first lines say how to read and extend it.
//
//go:embed catalogue.yaml
var catalogueYAML []byte

// The forms in which the claims come. Each claim of the method has a twin in
// the other two forms, except that the system claim 13 already contains what
// the method claims 10 and 11 add.
const (
	MethodForm  = "method"
	SystemForm  = "system"
	ProductForm = "product"
)

// Claim is one of the 34 claims.
type Claim struct {
	Number int `yaml:"number"`
	// Form is [MethodForm], [SystemForm] or [ProductForm].
	Form string `yaml:"form"`
	// Parents are the claims that it depends on directly; none for 1, 13 and 23.
	Parents []int `yaml:"parents,omitempty"`
	// Summary says in one line what the claim adds to its parents.
	Summary string `yaml:"summary"`
	// Requirements are the IDs of its own elements, without its parents', in catalogue order.
	Requirements []string `yaml:"-"`
}

type catalogue struct {
	Requirements []Requirement `yaml:"requirements"`
	Claims       []Claim       `yaml:"claims"`

	index  map[string]int // requirement ID to its place
	number map[int]int    // claim number to its place
}

// loadCatalogue parses the embedded catalogue once. A catalogue that does not
// parse cannot leave the tests, so it panics.
var loadCatalogue = sync.OnceValue(func() *catalogue {
	c, err := parseCatalogue(catalogueYAML)
	if err != nil {
		panic(err)
	}
	return c
})

// parseCatalogue reads a catalogue strictly: an unknown key, a key given
// twice, an ID given twice or a requirement of an unknown claim is an error.
func parseCatalogue(text []byte) (*catalogue, error) {
	var c catalogue
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	c.number = make(map[int]int, len(c.Claims))
	for i, claim := range c.Claims {
		if _, twice := c.number[claim.Number]; twice {
			return nil, fmt.Errorf("read catalogue: claim %d is there twice", claim.Number)
		}
		c.number[claim.Number] = i
	}
	c.index = make(map[string]int, len(c.Requirements))
	for i, r := range c.Requirements {
		if _, twice := c.index[r.ID]; twice {
			return nil, fmt.Errorf("read catalogue: requirement %s is there twice", r.ID)
		}
		c.index[r.ID] = i
		for _, n := range r.Claims {
			at, known := c.number[n]
			if !known {
				return nil, fmt.Errorf("read catalogue: requirement %s names the unknown claim %d", r.ID, n)
			}
			c.Claims[at].Requirements = append(c.Claims[at].Requirements, r.ID)
		}
	}
	return &c, nil
}

// Catalogue returns every requirement in the order of catalogue.yaml. The
// slice is the caller's; what the requirements refer to is shared and
// read-only.
func Catalogue() []Requirement { return slices.Clone(loadCatalogue().Requirements) }

// RequirementByID returns the requirement of exactly that ID.
func RequirementByID(id string) (Requirement, bool) {
	c := loadCatalogue()
	i, ok := c.index[id]
	if !ok {
		return Requirement{}, false
	}
	return c.Requirements[i], true
}

// Claims returns the 34 claims in ascending order. The slice is the caller's;
// what the claims refer to is shared and read-only.
func Claims() []Claim { return slices.Clone(loadCatalogue().Claims) }

// ClaimClosure returns claim n and every claim it depends on, ascending: the
// claims that must hold for n to be reported. It is nil for an unknown number.
func ClaimClosure(n int) []int {
	c := loadCatalogue()
	reached := map[int]bool{}
	var visit func(int)
	visit = func(n int) {
		at, known := c.number[n]
		if !known || reached[n] {
			return
		}
		reached[n] = true
		for _, p := range c.Claims[at].Parents {
			visit(p)
		}
	}
	visit(n)
	if len(reached) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(reached))
}

// Unconfirmed says why nothing seen at the level can confirm the requirement
// on a farm of that hand-off mode, or returns "" where it can. A breach that
// is seen there is still a breach.
func (r Requirement) Unconfirmed(l Level, h Handoff) string {
	if slices.Contains(r.Modes[l], h) {
		return ""
	}
	return r.Unobservable[l]
}

// Suggest returns the known word that a mistyped one most likely meant: the
// nearest by inserting, deleting, changing and swapping neighbouring letters,
// whatever their case, and the first of equals. It returns "" if even the
// nearest differs in more than a third of the word, and for a known word that
// word.
func Suggest(word string, known []string) string {
	from := []rune(strings.ToLower(word))
	best, least := "", max(1, len(from)/3)+1
	for _, k := range known {
		if d := distance(from, []rune(strings.ToLower(k))); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b []rune) int {
	before := make([]int, len(b)+1) // the row before the previous
	previous := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i, x := range a {
		row[0] = i + 1
		for j, y := range b {
			change := previous[j]
			if x != y {
				change++
			}
			row[j+1] = min(change, previous[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x == b[j-1] && a[i-1] == y {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, previous, row = previous, row, before
	}
	return previous[len(b)]
}
