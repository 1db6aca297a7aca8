package loadtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/farmspec/farmspec"
)

// Action is what a virtual browser does on an arrival.
type Action uint8

// The actions.
const (
	// View opens a page of the server where the session is.
	View Action = iota
	// Hop opens a page of another server from there: a redirect and a hand-off.
	Hop
	// State opens an application's page, compares what it remembers with what
	// was written, and writes a new value.
	State
	// LogIn logs in again, whatever session there was. A browser without a
	// session does it before anything else.
	LogIn
	// LogOut logs out; afterwards the closed session's token must be refused.
	LogOut
	// Idle lets a browser rest, and is a View by one that has rested.
	Idle
	// Tabs opens pages in several tabs at once with one token.
	Tabs

	actions
)

var actionNames = [actions]string{"view", "hop", "state", "login", "logout", "idle", "tabs"}

func (a Action) String() string { return actionNames[a] }

// Mix weighs the actions. The zero Mix is DefaultMix.
type Mix [actions]uint32

// DefaultMix is mostly reading, as people do, with some of everything.
var DefaultMix = Mix{View: 60, Hop: 30, State: 6, LogIn: 1, LogOut: 1, Idle: 2}

// ParseMix reads weights such as "view=60,hop=30,state=10"; "" is DefaultMix.
func ParseMix(s string) (Mix, error) {
	if s == "" {
		return DefaultMix, nil
	}
	var m Mix
	total := 0
	for part := range strings.SplitSeq(s, ",") {
		name, weight, ok := strings.Cut(strings.TrimSpace(part), "=")
		a := slices.Index(actionNames[:], name)
		if a < 0 {
			hint := ""
			if near := farmspec.Suggest(name, actionNames[:]); near != "" {
				hint = fmt.Sprintf(" (did you mean %s?)", near)
			}
			return Mix{}, fmt.Errorf("mix %q: no action %q; there are %s%s", s, name, strings.Join(actionNames[:], ", "), hint)
		}
		n, err := strconv.ParseUint(weight, 10, 16)
		if !ok || err != nil {
			return Mix{}, fmt.Errorf("mix %q: want weights such as view=60,hop=40, each 0 to 65535", s)
		}
		if m[a] != 0 {
			return Mix{}, fmt.Errorf("mix %q: %s is there twice", s, name)
		}
		m[a] = uint32(n)
		total += int(n)
	}
	if total == 0 {
		return Mix{}, fmt.Errorf("mix %q: every weight is zero, so nothing would be done", s)
	}
	return m, nil
}

// String is what ParseMix reads.
func (m Mix) String() string {
	var parts []string
	for a, w := range m {
		if w > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", Action(a), w))
		}
	}
	return strings.Join(parts, ",")
}

// pick chooses by weight with a random number.
func (m *Mix) pick(random uint64) Action {
	var total uint64
	for _, w := range m {
		total += uint64(w)
	}
	at := random % total
	for a, w := range m {
		if at < uint64(w) {
			return Action(a)
		}
		at -= uint64(w)
	}
	return View
}

// dice are the random numbers of one arrival: the same for the same seed and
// number, whatever else happens, and so in every shard (splitmix64).
type dice uint64

func newDice(seed, n uint64) dice { return dice(seed ^ (n+1)*0xd1342543de82ef95) }

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// chance reports true with probability p.
func (d *dice) chance(p float64) bool { return float64(d.next()>>11)/(1<<53) < p }
