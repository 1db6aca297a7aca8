// Package model is the executable specification of what a browser may see of
// session tokens. Check judges a recorded history by it, whatever farm the
// history comes from.
package model

import "time"

// Kind says what an operation did.
type Kind string

// The kinds.
const (
	// Login asked for a session; Issued is its first token.
	Login Kind = "login"
	// Present used a token; Issued is its successor.
	Present Kind = "present"
	// Close ended the session, presenting a token or as an administrator.
	Close Kind = "close"
)

// Outcome says how an operation ended.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted"
	Refused  Outcome = "refused"
	// Lost: no answer came, and nobody knows whether the operation took effect.
	Lost Outcome = "lost"
)

// Op is one operation of a history, as its client saw it. Tokens are given as
// digests: any strings that are equal exactly where the tokens are.
type Op struct {
	// Client names who sent it, Member the server that answered.
	Client, Member string
	Kind           Kind
	// Session names the session: the same for all its tokens. It may be empty
	// where Presented tells it.
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

// Rules are the policy the farm declares (requirements D3).
type Rules struct {
	// Coalesce: the immediate predecessor of the current token may be accepted
	// too, within Grace of its replacement, and gets the same successor.
	// Otherwise the policy is strict.
	Coalesce bool
	Grace    time.Duration
}

// Violation is a broken rule with its evidence.
type Violation struct {
	// Invariant is I1, I2, I3 or I5, with a prime under Coalesce for the first
	// two; "linearizability" where only the whole history shows it; or
	// "undecided" where the check ran out of time, which accuses nobody.
	Invariant string
	// Text says what happened, in a sentence.
	Text string
	// Ops are indices into the history, ascending.
	Ops []int
}

// Check returns what the history proves, in a stable order; nothing for a
// history that a correct farm could have produced.
func Check(ops []Op, r Rules) []Violation { return nil }
