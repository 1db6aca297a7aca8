package features

import (
	"slices"
	"strings"
	"testing"
)

// A decoder may stop at the padding of an encoding, so a change there would
// leave the token what it was, and the farm would be blamed for taking it.
func TestAlterationsLeavePaddingAlone(t *testing.T) {
	for _, tc := range []struct{ token, body, why string }{
		{"QUJDRA==", "QUJDRA", "base64 of four bytes"},
		{"QUJDRA%3D%3D", "QUJDRA", "the same, escaped for a cookie"},
		{"QUJDREVG", "QUJDREVG", "nothing to pad"},
		{"====", "=", "padding alone is not cut to nothing"},
	} {
		if got := unpadded(tc.token); got != tc.body {
			t.Errorf("unpadded(%q) = %q, want %q (%s)", tc.token, got, tc.body, tc.why)
		}
		changed := alterations(tc.token, 24)
		if len(changed) != len(tc.body) {
			t.Errorf("%d alterations of %q, want one for each of %d characters (%s)", len(changed), tc.token, len(tc.body), tc.why)
		}
		for _, c := range changed {
			if !strings.HasSuffix(c, tc.token[len(tc.body):]) || strings.HasPrefix(c, tc.body) {
				t.Errorf("alteration %q of %q changes more or less than one character of %q", c, tc.token, tc.body)
			}
		}
		if len(slices.Compact(slices.Clone(changed))) != len(changed) {
			t.Errorf("alterations of %q repeat: %q", tc.token, changed)
		}
	}
}
