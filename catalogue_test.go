package farmspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sections lists every ID by hand, so that a requirement lost from the
// catalogue is noticed. "7.1-5" stands for 7.1 to 7.5.
var sections = []struct{ section, prefix, ids string }{
	{"web-farm", "WF-", "1.1-7 2.1-4 3.1-3 4.1-4 5.1 6.1-3 7.1-5 8.1-3 9.1-2 10.1-4 11.1 12.1-4 G.1-2 L"},
	{"web-farm", "SY-", "13.1-3 14.1-2 15.1 16.1 18.1 19.1 20.1 21.1"},
	{"web-farm", "CP-", "0"},
	{"as-java", "AJ-", "0.1-3 1.1-3 2.1-8 3.1-5 4.1-5 5.1-4 6.1-6 X1 X2 X3 X4 X5 X6"},
	{"asvs", "ASVS-", `7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-3 7.6.1-2
		3.3.1-5 3.4.5 3.5.1 3.5.3 3.7.2 9.2.1 9.2.3 10.4.5 10.5.5 11.2.5 11.3.2-4 11.5.1
		12.3.3 13.2.1 14.2.1 14.3.1-2 15.4.2 16.2.5 16.5.1-3`},
	{"wstg", "WSTG-SESS-", "01 02 03 04 05 06 07 08 09 10 11"},
	{"nist", "NIST-", `5.1.secret 5.1.timeout 5.1.intermediaries 5.1.fallback 5.1.csrf
		5.1.1.secure 5.1.1.scope 5.1.1.personal 5.1.1.expiry 5.1.1.httponly 5.1.1.prefix 5.1.1.samesite
		5.2.either 5.2.activity 5.2.reauthentication
		2.1.3.overall 2.2.3.overall 2.2.3.idle 2.3.3.overall 2.3.3.idle`},
	{"rfc", "RFC-", "6265bis.prefix 6265bis.ports 6265bis.transplant 6265bis.eviction 9110.9.2 9110.10.1.3 9110.15.4 9111.7.3"},
	{"servlet", "SERVLET-", "7.1.3 CHANGE-ID SCOPE NO-TIMEOUT INVALIDATION DISTRIBUTABLE"},
	{"sso", "SAML-", "CORE-AUTHENTICATE CORE-ALL-SESSIONS CORE-LATER-ASSERTIONS PROFILES-INITIATORS PROFILES-CHANNELS PROFILES-PARTIAL"},
	{"sso", "OIDC-BCL-", "CLAIMS SUBJECT NO-NONCE REPLAY FAILURE NO-STORE"},
	{"sso", "CAS-", "ONE-ATTEMPT SERVICE-BOUND LIFETIME UNGUESSABLE"},
}

var span = regexp.MustCompile(`^(.*\.)(\d+)-(\d+)$`)

// spread writes a span such as "7.1-3" out.
func spread(t *testing.T, id string) []string {
	m := span.FindStringSubmatch(id)
	if m == nil {
		return []string{id}
	}
	var from, to int
	if _, err := fmt.Sscan(m[2], &from); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(m[3], &to); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := from; i <= to; i++ {
		ids = append(ids, fmt.Sprint(m[1], i))
	}
	return ids
}

func TestCatalogueIsComplete(t *testing.T) {
	want := map[string][]string{}
	for _, s := range sections {
		for _, id := range strings.Fields(s.ids) {
			for _, one := range spread(t, id) {
				want[s.section] = append(want[s.section], s.prefix+one)
			}
		}
	}
	got := map[string][]string{}
	for _, r := range Catalogue() {
		got[r.Section] = append(got[r.Section], r.ID)
	}
	for _, ids := range want {
		slices.Sort(ids)
	}
	for _, ids := range got {
		slices.Sort(ids)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("IDs by section (-want +got):\n%s", diff)
	}
}

// An ID must do as a tag of a scenario.
var wellFormed = regexp.MustCompile(`^[A-Z]+(-[A-Z]+)*-[0-9A-Z][0-9A-Za-z.]*$`)

func TestEveryRequirementSaysWhatItMust(t *testing.T) {
	known := []Level{Black, Grey, White}
	for _, r := range Catalogue() {
		complain := func(format string, args ...any) {
			t.Helper()
			t.Errorf(r.ID+": "+format, args...)
		}
		if !wellFormed.MatchString(r.ID) {
			complain("the ID is not of the form %s", wellFormed)
		}
		if r.Title == "" || strings.HasSuffix(r.Title, ".") || strings.Contains(r.Title, "\n") {
			complain("title %q is not one line without a full stop", r.Title)
		}
		if r.Source == "" {
			complain("no source")
		}
		if !slices.Contains([]string{"MUST", "SHOULD", "MAY"}, r.Strength) {
			complain("strength %q", r.Strength)
		}
		if !slices.Contains([]string{"claim", "hardened"}, r.Profile) {
			complain("profile %q", r.Profile)
		}
		if len(r.Levels) == 0 {
			complain("no level can observe it")
		}
		for l, text := range r.Levels {
			if !slices.Contains(known, l) || text == "" {
				complain("level %q: %q", l, text)
			}
		}
		for l, text := range r.Unobservable {
			if !slices.Contains(known, l) || text == "" {
				complain("unobservable at level %q: %q", l, text)
			}
		}
		for l, modes := range r.Modes {
			if r.Unobservable[l] == "" || len(modes) == 0 {
				complain("modes %v at level %q, which is not unobservable otherwise", modes, l)
			}
			for _, m := range modes {
				if !slices.Contains([]Handoff{Claimed, Sealed, Direct}, m) {
					complain("mode %q", m)
				}
			}
		}
		// Black sees every farm, so what it cannot see needs a reason.
		if r.Levels[Black] == "" && r.Unobservable[Black] == "" {
			complain("says neither what black sees nor why it sees nothing")
		}
		if !slices.IsSorted(r.Claims) || len(slices.Compact(slices.Clone(r.Claims))) != len(r.Claims) {
			complain("claims %v are not ascending", r.Claims)
		}
		if inText := r.Section == "web-farm" || r.Section == "as-java"; !inText && (r.Profile != "hardened" || len(r.Claims) > 0) {
			complain("a standard's requirement counts for profile %q and claims %v", r.Profile, r.Claims)
		} else if inText && r.Planned != "" && r.Strength != "MAY" {
			complain("planned, though a %s of the source texts", r.Strength)
		}
	}
}

// twins is the table of method, system and product claims with the closures
// of the three, as the claims read.
var twins = []struct {
	n       int
	closure []int
}{
	{1, []int{1}},
	{2, []int{1, 2}},
	{3, []int{1, 2, 3}},
	{4, []int{1, 2, 4}}, // not 3: replacing does not need the parts of a token
	{5, []int{1, 5}},
	{6, []int{1, 5, 6}},
	{7, []int{1, 5, 7}}, // not 6: a time-out does not need the comparison
	{8, []int{1, 5, 7, 8}},
	{9, []int{1, 9}},
	{10, []int{1, 10}},
	{11, []int{1, 10, 11}},
	{12, []int{1, 12}},
	{13, []int{13}},
	{14, []int{13, 14}},
	{15, []int{13, 14, 15}},
	{16, []int{13, 14, 16}},
	{17, []int{13, 17}},
	{18, []int{13, 17, 18}},
	{19, []int{13, 17, 19}},
	{20, []int{13, 17, 19, 20}},
	{21, []int{13, 21}},
	{22, []int{13, 22}},
	{23, []int{23}},
	{24, []int{23, 24}},
	{25, []int{23, 24, 25}},
	{26, []int{23, 24, 26}},
	{27, []int{23, 27}},
	{28, []int{23, 27, 28}},
	{29, []int{23, 27, 29}},
	{30, []int{23, 27, 29, 30}},
	{31, []int{23, 31}},
	{32, []int{23, 32}},
	{33, []int{23, 32, 33}},
	{34, []int{23, 34}},
}

func TestClaimClosure(t *testing.T) {
	for _, tc := range twins {
		if diff := cmp.Diff(tc.closure, ClaimClosure(tc.n)); diff != "" {
			t.Errorf("closure of claim %d (-want +got):\n%s", tc.n, diff)
		}
	}
	for _, n := range []int{-1, 0, 35} {
		if got := ClaimClosure(n); got != nil {
			t.Errorf("ClaimClosure(%d) = %v, want nil: there is no such claim", n, got)
		}
	}
}

func TestClaims(t *testing.T) {
	claims := Claims()
	if len(claims) != len(twins) {
		t.Fatalf("%d claims, want %d", len(claims), len(twins))
	}
	for i, c := range claims {
		form := MethodForm
		switch {
		case c.Number >= 23:
			form = ProductForm
		case c.Number >= 13:
			form = SystemForm
		}
		if c.Number != i+1 || c.Form != form {
			t.Errorf("claim at place %d is number %d of form %q, want number %d of form %q", i, c.Number, c.Form, i+1, form)
		}
		if c.Summary == "" {
			t.Errorf("claim %d has no summary", c.Number)
		}
		if len(c.Requirements) == 0 {
			t.Errorf("no requirement is an element of claim %d", c.Number)
		}
		for _, id := range c.Requirements {
			r, ok := RequirementByID(id)
			if !ok || !slices.Contains(r.Claims, c.Number) {
				t.Errorf("claim %d has %s, which names the claims %v", c.Number, id, r.Claims)
			}
		}
	}
}

// A twin has what its method claim has: a requirement of claim 4 is one of
// 16 and 26 too.
func TestTwinsShareRequirements(t *testing.T) {
	twin := map[int][]int{
		1: {13, 23}, 2: {14, 24}, 3: {15, 25}, 4: {16, 26}, 5: {17, 27}, 6: {18, 28},
		7: {19, 29}, 8: {20, 30}, 9: {21, 31}, 10: {13, 32}, 11: {13, 33}, 12: {22, 34},
	}
	for _, r := range Catalogue() {
		for n, others := range twin {
			if !slices.Contains(r.Claims, n) {
				continue
			}
			for _, other := range others {
				if !slices.Contains(r.Claims, other) {
					t.Errorf("%s is an element of claim %d and not of its twin %d", r.ID, n, other)
				}
			}
		}
	}
}

func TestUnconfirmed(t *testing.T) {
	for _, tc := range []struct {
		id   string
		at   Level
		mode Handoff
		want bool
		why  string
	}{
		{"WF-6.2", Black, Sealed, true, "nobody can edit the timestamp of a sealed token"},
		{"WF-6.2", Black, Claimed, false, "in claimed mode the address shows it"},
		{"WF-6.2", Grey, Sealed, false, "the service is asked directly"},
		{"WF-1.2", Black, Claimed, true, "black only refutes encryption, in every mode"},
		{"WF-4.1", Black, Direct, false, "replay tells in every mode"},
	} {
		r, ok := RequirementByID(tc.id)
		if !ok {
			t.Fatalf("no requirement %s", tc.id)
		}
		if got := r.Unconfirmed(tc.at, tc.mode); (got != "") != tc.want {
			t.Errorf("%s at level %s in mode %s: unconfirmed %q, want a reason: %v (%s)", tc.id, tc.at, tc.mode, got, tc.want, tc.why)
		}
	}
}

func TestRequirementByIDIsExact(t *testing.T) {
	if r, ok := RequirementByID("WF-4.3"); !ok || r.ID != "WF-4.3" {
		t.Errorf("RequirementByID(WF-4.3) = %q, %v", r.ID, ok)
	}
	for _, id := range []string{"", "wf-4.3", "WF-4", "WF-4.33"} {
		if r, ok := RequirementByID(id); ok {
			t.Errorf("RequirementByID(%q) found %s", id, r.ID)
		}
	}
}

func TestParseCatalogueIsStrict(t *testing.T) {
	const good = `
requirements:
  - {id: A-1, title: one, claims: [1]}
claims:
  - {number: 1, form: method, summary: all}
`
	if _, err := parseCatalogue([]byte(good)); err != nil {
		t.Fatalf("a small catalogue is refused, so no refusal below proves anything: %v", err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"unknown key", "title: one", "titel: one", "titel"},
		{"key twice", "title: one", "title: one, title: two", "title"},
		{"requirement twice", "claims:\n", "  - {id: A-1}\nclaims:\n", "A-1 is there twice"},
		{"claim twice", "summary: all}\n", "summary: all}\n  - {number: 1}\n", "claim 1 is there twice"},
		{"unknown claim", "[1]", "[1, 99]", "unknown claim 99"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := strings.Replace(good, tc.old, tc.new, 1)
			if bad == good {
				t.Fatalf("%q is not in the small catalogue", tc.old)
			}
			if _, err := parseCatalogue([]byte(bad)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not mention %q", err, tc.want)
			}
		})
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"strict", "coalesce", "read-verify", "WF-4.3", "WF-4.4"}
	for _, tc := range []struct{ word, want, why string }{
		{"strict", "strict", "a known word is its own suggestion"},
		{"strcit", "strict", "a swap of neighbours is one mistake"},
		{"coalesc", "coalesce", "a missing letter"},
		{"readverify", "read-verify", "a missing hyphen"},
		{"wf-4.4", "WF-4.4", "case does not count"},
		{"WF-4.5", "WF-4.3", "of equals the first"},
		{"rotate", "", "more than a third differs"},
		{"", "", "nothing was meant"},
	} {
		if got := Suggest(tc.word, known); got != tc.want {
			t.Errorf("Suggest(%q) = %q, want %q (%s)", tc.word, got, tc.want, tc.why)
		}
	}
}

func BenchmarkParseCatalogue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseCatalogue(catalogueYAML); err != nil {
			b.Fatal(err)
		}
	}
}
