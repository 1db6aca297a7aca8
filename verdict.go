package farmspec

import "slices"

// Verdict says how a scenario, a requirement or a whole run ended. Only
// [Pass] counts as a pass: what was not seen is never reported as seen.
type Verdict string

// The verdicts. The five after Error are the ways of not having been run.
const (
	// Pass: every expectation held, and each refusal had its witness and its survivor.
	Pass Verdict = "pass"
	// Warn: a SHOULD was not met; the farm still conforms.
	Warn Verdict = "warn"
	// Fail: the farm broke a MUST.
	Fail Verdict = "fail"
	// Flaky: repeated trials disagreed; never satisfies a MUST.
	Flaky Verdict = "flaky"
	// Inconclusive: a control failed, so the observation proves nothing.
	Inconclusive Verdict = "inconclusive"
	// Error: the harness or the target could not be asked.
	Error Verdict = "error"

	// Unsupported: the target declares that it has no such ability.
	Unsupported Verdict = "unsupported"
	// NotOffered: it was tried, and the target does not have it.
	NotOffered Verdict = "not-offered"
	// Disabled: the operator excluded it.
	Disabled Verdict = "disabled"
	// Unobservable: a hook or a level of observation is missing.
	Unobservable Verdict = "unobservable"
	// NotRun: planned, and the run ended before it began.
	NotRun Verdict = "not-run"
	// Planned: the catalogue names the requirement; no scenario tests it yet.
	Planned Verdict = "planned"
)

// severity orders verdicts from best to worst for [Worst]. A verdict that was
// not run is better than a failure and worse than a pass: beside a pass, the
// pass is what was observed.
var severity = []Verdict{
	Planned, Unsupported, NotOffered, Disabled, Unobservable,
	Pass, Warn, NotRun, Inconclusive, Flaky, Error, Fail,
}

// Verdicts lists every verdict, best first.
func Verdicts() []Verdict { return slices.Clone(severity) }

// Ran reports whether the verdict comes from an observation.
func (v Verdict) Ran() bool {
	switch v {
	case Pass, Warn, Fail, Flaky, Inconclusive, Error:
		return true
	}
	return false
}

// Worst returns the verdict that decides a group: a failure over everything,
// a pass over what could not be run. The verdict of an empty group is [NotRun].
func Worst(verdicts ...Verdict) Verdict {
	if len(verdicts) == 0 {
		return NotRun
	}
	return slices.MaxFunc(verdicts, func(a, b Verdict) int {
		return slices.Index(severity, a) - slices.Index(severity, b)
	})
}

// Whole returns the verdict of something that holds only if all its parts do,
// as a claim holds only with every element: a failure over everything, then
// what was not seen, and a pass only where every part passed.
func Whole(verdicts ...Verdict) Verdict {
	if worst := Worst(verdicts...); worst.Ran() && worst != Pass && worst != Warn {
		return worst
	}
	rest := slices.DeleteFunc(slices.Clone(verdicts), func(v Verdict) bool { return v == Pass || v == Warn })
	switch {
	case slices.Contains(rest, Planned): // nothing even tries to see it
		return Planned
	case len(rest) > 0:
		return Worst(rest...)
	}
	return Worst(verdicts...)
}

// Exit codes of the command, stable for scripts.
const (
	ExitConformant    = 0  // everything that ran passed, and something ran
	ExitNonconformant = 1  // at least one MUST failed
	ExitInconclusive  = 2  // no failure, but a control failed or the run is incomplete
	ExitNotReady      = 3  // the target could not be reached or did not match its description
	ExitUsage         = 64 // wrong flag, tag, glob, file or configuration
	ExitInternal      = 70 // farmspec itself is at fault
)
