// Package model is the executable specification of what a browser may see of
// session tokens: a token is accepted once and replaced by one successor, until
// the session is closed. Check judges a recorded history by it, whatever farm
// the history comes from.
package model

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind says what an operation did.
type Kind string

// The kinds.
const (
	// Login asked for a session; Issued is its first token.
	Login Kind = "login"
	// Present used a token in a way that replaces it; Issued is the successor.
	Present Kind = "present"
	// Close ended the session, presenting a token or as an administrator.
	Close Kind = "close"
)

// Outcome says how an operation ended.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted"
	// Refused says nothing here: whether a refusal was honest depends on
	// faults and time-outs that a history does not show.
	Refused Outcome = "refused"
	// Lost: no answer came, and nobody knows whether the operation took
	// effect; unless Issued is set, for then it did.
	Lost Outcome = "lost"
)

// Op is one operation of a history, as its client saw it. Tokens are given as
// digests: any strings that are equal exactly where the tokens are.
type Op struct {
	// Client names who sent it, Member the server that answered.
	Client, Member string
	Kind           Kind
	// Session names the session, one name for each log-in. It may be empty
	// where a token tells it.
	Session string
	// Presented is the token sent; empty for a Login, and for a Close by an
	// administrator.
	Presented string
	// Issued is the token received; empty where none was.
	Issued string
	// Call and Return are when the operation was invoked and when its answer
	// was complete, from a common origin. Return is ignored where Outcome is Lost.
	Call, Return time.Duration
	Outcome      Outcome
}

// Rules are the policy that the farm declares (requirements D3). The zero
// value is the strict one.
type Rules struct {
	// Grace is how long after its replacement a token may still be accepted
	// under Coalesce.
	Grace time.Duration
	// Coalesce lets the immediate predecessor of the current token be accepted
	// too, for the same successor.
	Coalesce bool
}

// Violation is a broken rule with its evidence.
type Violation struct {
	// Invariant is one of the Invariant constants.
	Invariant string
	// Text says what happened, in a sentence.
	Text string
	// Ops are indices into the history, ascending.
	Ops []int
}

// What a violation may be of. Under Coalesce the first two are written with a
// prime, as the catalogue has them.
const (
	// I1: a token is accepted at most once. I1': repeatedly only within the
	// grace period, and only while it is the immediate predecessor.
	I1, I1Prime = "I1", "I1'"
	// I2: the accepted tokens of a session form one chain. I2': a token has one successor.
	I2, I2Prime = "I2", "I2'"
	// I3: nothing invoked after an acknowledged close is accepted.
	I3 = "I3"
	// I5: only issued tokens are accepted.
	I5 = "I5"
	// Linearizability: no two operations contradict each other, but no order
	// explains them all.
	Linearizability = "linearizability"
	// Undecided accuses nobody: the check ran out of time, or the history
	// contradicts itself.
	Undecided = "undecided"
)

// patience bounds the search for an order, over all sessions.
const patience = 20 * time.Second

// Check returns what the history proves against the farm, ordered by evidence;
// nothing for a history that a correct farm could have produced. The history
// begins with its log-ins: a token accepted that no operation can have issued
// is a violation. Its order does not matter, its instants do. Intervals are
// closed: operations that touch are concurrent.
func Check(ops []Op, r Rules) []Violation {
	h := history{ops: ops, rules: r, issuers: make(map[string][]int), accepted: make(map[string][]int)}
	if v := h.malformed(); v != nil {
		return v
	}
	for i, op := range ops {
		if !op.effective() {
			continue
		}
		if op.Issued != "" && op.Issued != op.Presented && op.Kind != Close {
			h.issuers[op.Issued] = append(h.issuers[op.Issued], i)
		}
		if op.Kind == Present {
			h.accepted[op.Presented] = append(h.accepted[op.Presented], i)
		}
	}
	h.gather()
	h.onlyIssued()
	h.atMostOnce()
	h.oneChain()
	h.nothingAfterClose()
	h.someOrder(time.Now().Add(patience))
	slices.SortStableFunc(h.found, func(a, b Violation) int {
		return cmp.Or(slices.Compare(a.Ops, b.Ops), cmp.Compare(a.Invariant, b.Invariant))
	})
	return h.found
}

// effective reports whether the operation certainly took effect: an answer, or
// at least its token, was seen.
func (op *Op) effective() bool {
	return op.Outcome == Accepted || op.Outcome == Lost && op.Issued != ""
}

// returned is when the effect was there at the latest.
func (op *Op) returned() time.Duration {
	if op.Outcome == Lost {
		return math.MaxInt64
	}
	return op.Return
}

// history is a history being judged.
type history struct {
	ops   []Op
	rules Rules
	// issuers and accepted are, by token, the operations that certainly issued
	// it, and that presented it and were accepted.
	issuers, accepted map[string][]int
	// families are the effective operations by session; familyOf by operation.
	families [][]int
	familyOf map[int]int
	accused  map[int]bool // families with a violation
	found    []Violation
}

func (h *history) violated(invariant string, ops []int, format string, args ...any) {
	ops = slices.Compact(slices.Sorted(slices.Values(ops)))
	h.found = append(h.found, Violation{invariant, fmt.Sprintf(format, args...), ops})
	for _, i := range ops {
		h.accused[h.familyOf[i]] = true
	}
}

// say chooses between an invariant and its form under Coalesce.
func (h *history) say(strict, prime string) string {
	if h.rules.Coalesce {
		return prime
	}
	return strict
}

// malformed looks for what no recorder should write.
func (h *history) malformed() (v []Violation) {
	for i, op := range h.ops {
		what := ""
		switch {
		case op.Kind != Login && op.Kind != Present && op.Kind != Close:
			what = fmt.Sprintf("kind %q", op.Kind)
		case op.Outcome != Accepted && op.Outcome != Refused && op.Outcome != Lost:
			what = fmt.Sprintf("outcome %q", op.Outcome)
		case op.Outcome != Lost && op.Return < op.Call:
			what = "an answer before the call"
		case op.Kind == Present && op.Presented == "":
			what = "no token presented"
		case op.Kind == Close && op.Presented == "" && op.Session == "":
			what = "no session that is closed"
		default:
			continue
		}
		v = append(v, Violation{Undecided, fmt.Sprintf("operation %d is malformed: %s", i, what), []int{i}})
	}
	return v
}

// gather puts effective operations that share a session name or a token into
// families.
func (h *history) gather() {
	h.familyOf, h.accused = make(map[int]int), make(map[int]bool)
	parent := make(map[string]string)
	var root func(string) string
	root = func(s string) string {
		p, is := parent[s]
		if !is || p == s {
			return s
		}
		p = root(p)
		parent[s] = p
		return p
	}
	names := func(op *Op) (n []string) {
		for _, s := range [...]struct{ prefix, name string }{{"session ", op.Session}, {"token ", op.Presented}, {"token ", op.Issued}} {
			if s.name != "" {
				n = append(n, s.prefix+s.name)
			}
		}
		return n
	}
	for i := range h.ops {
		if !h.ops[i].effective() {
			continue
		}
		n := names(&h.ops[i])
		for _, s := range n[min(1, len(n)):] {
			parent[root(s)] = root(n[0])
		}
	}
	byRoot := make(map[string]int)
	for i := range h.ops {
		n := names(&h.ops[i])
		if !h.ops[i].effective() || len(n) == 0 {
			continue
		}
		f, is := byRoot[root(n[0])]
		if !is {
			f = len(h.families)
			byRoot[root(n[0])] = f
			h.families = append(h.families, nil)
		}
		h.familyOf[i] = f
		h.families[f] = append(h.families[f], i)
	}
}

// onlyIssued is I5.
func (h *history) onlyIssued() {
	for i, op := range h.ops {
		if !op.effective() || op.Presented == "" {
			continue
		}
		issuers := h.issuers[op.Presented]
		if len(issuers) == 0 {
			if !h.mayBeLost(i) {
				h.violated(I5, []int{i}, "%s accepted token %s, which nobody was ever given", op.by(), op.Presented)
			}
			continue
		}
		if slices.ContainsFunc(issuers, func(j int) bool { return h.ops[j].Call <= op.returned() }) {
			continue
		}
		h.violated(I5, append(slices.Clone(issuers), i), "%s accepted token %s before it was issued", op.by(), op.Presented)
	}
}

// mayBeLost reports whether a lost answer can have held the token that
// operation i presented.
func (h *history) mayBeLost(i int) bool {
	op := &h.ops[i]
	return slices.ContainsFunc(h.ops, func(lost Op) bool {
		return lost.Outcome == Lost && lost.Issued == "" && lost.Kind != Close && lost.Call <= op.returned() &&
			(lost.Session == op.Session || lost.Session == "" || op.Session == "")
	})
}

// atMostOnce is I1 and I1'.
func (h *history) atMostOnce() {
	for _, token := range h.tokens() {
		uses := h.accepted[token]
		if len(uses) < 2 {
			continue
		}
		if !h.rules.Coalesce {
			h.violated(I1, uses, "token %s was accepted %d times (%s)", token, len(uses), h.members(uses))
			continue
		}
		// The replacement had happened when the first of them returned.
		first := slices.MinFunc(uses, func(i, j int) int { return cmp.Compare(h.ops[i].returned(), h.ops[j].returned()) })
		replaced := h.ops[first].returned()
		for _, i := range uses {
			op := &h.ops[i]
			if late := op.Call - replaced; replaced < math.MaxInt64 && late > h.rules.Grace {
				h.violated(I1Prime, []int{first, i}, "%s accepted token %s %v after its replacement, over the grace period of %v",
					op.by(), token, late, h.rules.Grace)
				continue
			}
			for _, next := range h.accepted[op.Issued] {
				if op.Issued != token && h.ops[next].returned() < op.Call {
					h.violated(I1Prime, []int{next, i}, "%s accepted token %s after its successor had been replaced too", op.by(), token)
				}
			}
		}
	}
}

// oneChain is I2 and I2': no token has two successors or two predecessors.
func (h *history) oneChain() {
	for _, token := range h.tokens() {
		successors := make(map[string]int)
		var forks []int
		for _, i := range h.accepted[token] {
			if issued := h.ops[i].Issued; issued != "" {
				if _, is := successors[issued]; !is {
					successors[issued] = i
					forks = append(forks, i)
				}
			}
		}
		if len(forks) > 1 {
			h.violated(h.say(I2, I2Prime), forks, "token %s has %d different successors (%s)", token, len(forks), h.members(forks))
		}
	}
	for _, token := range slices.Sorted(maps.Keys(h.issuers)) {
		issuers := h.issuers[token]
		for _, i := range issuers[1:] {
			a, b := &h.ops[issuers[0]], &h.ops[i]
			if a.Presented != b.Presented || a.Kind == Login && b.Kind == Login {
				h.violated(h.say(I2, I2Prime), []int{issuers[0], i}, "token %s was issued twice, for different predecessors (%s)", token, h.members([]int{issuers[0], i}))
			}
		}
	}
}

// nothingAfterClose is I3.
func (h *history) nothingAfterClose() {
	for _, family := range h.families {
		first := -1 // the close acknowledged first
		for _, i := range family {
			if op := &h.ops[i]; op.Kind == Close && op.Outcome == Accepted && (first < 0 || op.Return < h.ops[first].Return) {
				first = i
			}
		}
		if first < 0 {
			continue
		}
		for _, i := range family {
			if op := &h.ops[i]; op.Kind == Present && op.Call > h.ops[first].Return {
				h.violated(I3, []int{first, i}, "%s accepted token %s %v after the close of its session was acknowledged",
					op.by(), op.Presented, op.Call-h.ops[first].Return)
			}
		}
	}
}

// someOrder looks, for each session nothing else speaks against, for an order
// of its operations that the sequential specification allows.
func (h *history) someOrder(deadline time.Time) {
	spec := h.specification()
	for f, family := range h.families {
		if h.accused[f] {
			continue
		}
		logins := make([]int, 0, 1)
		history := make([]porcupine.Operation, len(family))
		for n, i := range family {
			op := &h.ops[i]
			if op.Kind == Login {
				logins = append(logins, i)
			}
			history[n] = porcupine.Operation{ClientId: n, Input: i, Call: int64(op.Call), Output: op.Issued, Return: int64(op.returned())}
		}
		if len(logins) > 1 {
			h.violated(Undecided, logins, "the history has %d log-ins under one session name", len(logins))
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			h.violated(Undecided, family, "no time was left to look for an order of %d operations", len(family))
			continue
		}
		switch porcupine.CheckOperationsTimeout(spec, history, left) {
		case porcupine.Illegal:
			h.violated(Linearizability, family, "no order of these %d operations follows one token at a time", len(family))
		case porcupine.Unknown:
			h.violated(Undecided, family, "no order of %d operations was found or excluded in time", len(family))
		}
	}
}

// state is a session between two operations.
type state struct {
	current, previous string // tokens; current is empty where nobody saw it
	closed            bool
}

// specification is the sequential farm: the transitions of one session that the
// rules allow, for operations that took effect.
func (h *history) specification() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(before, input, _ any) (bool, any) {
			s, op := before.(state), &h.ops[input.(int)]
			next := state{current: op.Issued, previous: op.Presented}
			switch {
			case op.Kind == Close:
				s.closed = true
				return true, s
			case op.Kind == Login:
				return s == state{}, next
			case s.closed:
				return false, s
			case op.Presented == s.current:
				return true, next
			case len(h.issuers[op.Presented]) == 0:
				return true, next // a lost answer held it, see mayBeLost
			case h.rules.Coalesce && op.Presented == s.previous && (op.Issued == s.current || op.Issued == "" || s.current == ""):
				s.current = cmp.Or(s.current, op.Issued)
				return true, s
			}
			return false, s
		},
	}
}

// by says who answered whom.
func (op *Op) by() string {
	member := cmp.Or(op.Member, "the farm")
	if op.Kind == Close {
		return member + ", closing,"
	}
	return member
}

func (h *history) members(ops []int) string {
	text := ""
	for _, i := range ops {
		if text != "" {
			text += ", "
		}
		op := &h.ops[i]
		text += fmt.Sprintf("%s at %v", op.by(), op.Call)
	}
	return text
}

// tokens are the accepted tokens, sorted.
func (h *history) tokens() []string { return slices.Sorted(maps.Keys(h.accepted)) }
