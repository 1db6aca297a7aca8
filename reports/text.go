package reports

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/farmspec/farmspec"
)

// oneLine makes text of a farm harmless on a line of a terminal or a table:
// white space becomes single spaces, and characters that control a terminal,
// reverse the direction of text or are no character at all become visible
// escapes.
func oneLine(s string) string {
	var b strings.Builder
	space := false
	for i, c := range s {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsSpace(c):
			space = b.Len() > 0
			continue
		case hidden(c):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			if space {
				b.WriteByte(' ')
			}
			b.WriteRune(c)
		}
		space = false
	}
	return b.String()
}

// hidden reports whether c acts on its surroundings instead of showing itself.
func hidden(c rune) bool {
	return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == '\u2028' || c == '\u2029'
}

// clip shortens s to at most n characters, the last being "…" if any is lost.
func clip(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clipBytes shortens s to at most n bytes without cutting a character.
func clipBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// wrap breaks s at spaces into lines of at most n characters; a longer word
// has a line of its own and is not broken, so that commands stay whole.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// took shows a duration with the digits that matter to a reader.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}

// count is "1 case", "2 cases".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// word is how a verdict reads in a sentence.
func word(v farmspec.Verdict) string {
	switch v {
	case "":
		return "–"
	case farmspec.NotOffered:
		return "not offered"
	case farmspec.NotRun:
		return "not run"
	}
	return string(v)
}

// mark is a verdict in one character, for grids that also carry the words.
func mark(v farmspec.Verdict) string {
	switch v {
	case farmspec.Pass:
		return "✓"
	case farmspec.Warn:
		return "!"
	case farmspec.Fail:
		return "✗"
	case farmspec.Flaky:
		return "~"
	case farmspec.Inconclusive:
		return "?"
	case farmspec.Error:
		return "E"
	case farmspec.Planned:
		return "…"
	}
	return "–"
}

// exitMeaning says what an exit code tells a script.
func exitMeaning(code int) string {
	switch code {
	case farmspec.ExitConformant:
		return "conformant: everything that ran passed"
	case farmspec.ExitNonconformant:
		return "nonconformant: at least one MUST was broken"
	case farmspec.ExitInconclusive:
		return "inconclusive: no MUST was seen broken, but a control failed or the run is incomplete"
	case farmspec.ExitNotReady:
		return "target not ready: it could not be reached or is not what its description says"
	case farmspec.ExitUsage:
		return "usage: a flag, tag, pattern or file is wrong"
	case farmspec.ExitInternal:
		return "internal: farmspec itself is at fault"
	}
	return "unknown"
}
