package features

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps about the tokens themselves: how much of them changes, what they
// are sealed with, what parts and weak forms of them are good for, and where
// else they show.

type tokensScene struct {
	// sample are tokens that should have nothing in common.
	sample []string
	logs   map[string]string
}

func (w *world) registerTokens(s stepper) {
	s.step(`many tokens of (\w+) are collected`, w.collectTokens)
	s.step(`at least (\d+) bits of them differ, and none comes twice`, w.bitsDiffer)
	s.step(`at least (\d+) bits of them differ, unless they are no references`, w.referencesLong)
	s.step(`(\d+) bits of the renewed session IDs differ, and none of them leans`, w.renewedBitsDiffer)
	s.step(`it was sealed by a cipher that is approved and authenticates`, w.cipherIsApproved)
	s.step(`(\w+) presents parts of (\w+)'s and (\w+)'s tokens put together`, w.presentsSpliced)
	s.step(`(\w+) presents (\w+)'s token in every weak form of a JWT`, w.presentsWeakJWT)
	s.step(`the farm refuses every one of them`, w.refusesEveryForm)
	s.step(`the logs of the farm are read`, w.logsAreRead)
	s.step(`none of them shows what (\w+) carried`, w.logsShowNothing)
	s.step(`five minutes pass`, w.noHandoffLasts)
}

// lastingHandoff is how long no hand-off lasts: the five minutes of CAS 3.0,
// section 3.1.1.
func lastingHandoff(t *farmspec.Target) time.Duration { return 5*time.Minute + t.Limits.Tolerance }

// noHandoffLasts lets so much time pass. Who is to be witness for the pages
// that somebody was on the way to goes there before, while all are signed in.
func (w *world) noHandoffLasts(ctx context.Context) error {
	for _, page := range w.handoff.pages {
		if err := w.witnessHandoff(ctx, page); err != nil {
			return err
		}
	}
	return w.pass(ctx, lastingHandoff(w.target))
}

// How many tokens are looked at: pages where each brings one, else log-ins.
const (
	manyPages  = 40
	manyLogIns = 20
)

// collectTokens has the person visit pages, or log in where the token stays
// the same, each time with a browser of her own.
func (w *world) collectTokens(ctx context.Context, name string) error {
	p, err := w.signedIn(ctx, name)
	if err != nil {
		return err
	}
	if w.target.Rotation != farmspec.NoRotation {
		for i := range manyPages {
			m := w.target.Members[i%len(w.target.Members)]
			if err := w.needServed(w.hop(ctx, p, w.home(m))); err != nil {
				return err
			}
			w.tokens.sample = append(w.tokens.sample, p.current().value)
		}
		return ctx.Err()
	}
	for range manyLogIns {
		again := &person{name: p.name, user: p.user, browser: w.newBrowser(p.name), at: p.at}
		if _, err := w.logIn(ctx, again, p.at, p.user.Password); err != nil {
			return &failedControl{fmt.Sprintf("%s cannot sign in: %v", p.name, err)}
		}
		if t := again.current().value; t != "" {
			w.tokens.sample = append(w.tokens.sample, t)
			w.keepSecret(t)
		}
	}
	if len(w.tokens.sample) < manyLogIns {
		return &failedControl{fmt.Sprintf("only %d of %d log-ins brought a token", len(w.tokens.sample), manyLogIns)}
	}
	return ctx.Err()
}

// alphabets are those that tokens are spelled in, the narrowest first, and in
// how many different characters at one place of a sample of twenty a place
// that may have any of them will surely be seen.
var alphabets = []struct {
	chars string
	sure  int
}{
	{"0123456789", 4},
	{"0123456789abcdef", 6},
	{"0123456789ABCDEF", 6},
	{"0123456789abcdefghijklmnopqrstuvwxyz", 7},
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 7},
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=%", 8},
}

// varying is at most how many bits of the texts differ from one to another: a
// place at which many characters came may have any of the alphabet, one at
// which few came has those. A sample can show that there are too few and not
// that there are enough.
func varying(sample []string) float64 {
	longest, used := 0, ""
	for _, s := range sample {
		longest = max(longest, len(s))
	}
	at := make([]map[byte]bool, longest)
	for i := range at {
		at[i] = map[byte]bool{}
		for _, s := range sample {
			c := byte(0) // shorter ones end here
			if i < len(s) {
				c = s[i]
			}
			at[i][c] = true
		}
		if len(at[i]) > 1 {
			for c := range at[i] {
				used += strings.Trim(string(rune(c)), "\x00")
			}
		}
	}
	chars, sure := 256, 8
	for _, a := range alphabets {
		if strings.Trim(used, a.chars) == "" {
			chars, sure = len(a.chars), a.sure
			break
		}
	}
	sum := 0.0
	for _, place := range at {
		if n := len(place); n >= sure {
			sum += math.Log2(float64(max(n, chars)))
		} else {
			sum += math.Ceil(math.Log2(float64(n))) // of four, one may not have come
		}
	}
	return sum
}

// twice reports whether a token of the sample came twice.
func (w *world) twice() bool {
	seen := map[string]bool{}
	for _, t := range w.tokens.sample {
		seen[t] = true
	}
	return len(seen) < len(w.tokens.sample)
}

func (w *world) bitsDiffer(least int) error {
	if w.twice() {
		return w.expect(false, nil, "tokens that are all different", "one came twice")
	}
	n := varying(w.tokens.sample)
	return w.expect(n >= float64(least), nil, fmt.Sprintf("at least %d bits that change from token to token", least),
		fmt.Sprintf("at most %.0f bits in %d tokens", n, len(w.tokens.sample)))
}

// referencesLong asks what ASVS 7.2.3 asks of references alone. A token that
// two log-ins bring alike has the session in it, sealed or signed, and
// stands for none.
func (w *world) referencesLong(least int) error {
	if w.twice() && w.target.Rotation == farmspec.NoRotation {
		return &notOffered{"tokens are no references: two log-ins brought the same"}
	}
	return w.bitsDiffer(least)
}

// renewedBitsDiffer counts, over all IDs, how often each bit is set. Six
// standard deviations are exceeded by chance once in some million runs.
func (w *world) renewedBitsDiffer(least int) error {
	var ones []int
	n := len(w.rotate.plain)
	seen := map[string]bool{}
	for _, t := range w.rotate.plain {
		raw, err := hex.DecodeString(t.ID)
		if err != nil {
			return w.expect(false, nil, "session IDs in hex", "one is not")
		}
		for len(ones) < 8*len(raw) {
			ones = append(ones, 0)
		}
		for i, b := range raw {
			for k := range 8 {
				ones[8*i+k] += int(b >> (7 - k) & 1)
			}
		}
		seen[t.ID] = true
	}
	if len(seen) < n {
		return w.expect(false, nil, "session IDs that are all different", fmt.Sprintf("%d of %d", len(seen), n))
	}
	free, leaning := 0, 0
	slack := 6 * math.Sqrt(float64(n)) / 2
	for _, o := range ones {
		switch {
		case o == 0 || o == n:
		case math.Abs(float64(o)-float64(n)/2) > slack:
			leaning++
		default:
			free++
		}
	}
	return w.expect(free >= least && leaning == 0, nil, fmt.Sprintf("%d bits of each session ID that are as often set as not", least),
		fmt.Sprintf("%d such bits in %d IDs, %d that lean", free, n, leaning))
}

// approved are ciphers with authentication that ASVS 5.0, appendix C, approves.
var approved = []string{"AES-128-GCM", "AES-192-GCM", "AES-256-GCM", "AES-128-CCM", "AES-256-CCM", "CHACHA20-POLY1305", "XCHACHA20-POLY1305", "AES-256-GCM-SIV", "AES-128-GCM-SIV"}

func (w *world) cipherIsApproved() error {
	name := ""
	if keys, ok := w.hooks.Keys.(farmspec.CipherHook); ok {
		name = keys.Cipher()
	}
	if name == "" {
		return &unseen{"the keys hook does not name the cipher"}
	}
	return w.expect(slices.Contains(approved, strings.ToUpper(name)), nil, "an approved cipher that authenticates, such as AES-256-GCM", name)
}

// separators part a token into pieces that may have been made one by one.
const separators = ".|:~!%"

// spliced are tokens of the parts of two: halves, and the pieces between
// separators, of the one before those of the other.
func spliced(a, b string) []string {
	out := []string{a[:len(a)/2] + b[len(b)/2:], b[:len(b)/2] + a[len(a)/2:], a[len(a)/2:] + a[:len(a)/2]}
	split := func(s string) []int {
		var at []int
		for i := range len(s) {
			if strings.IndexByte(separators, s[i]) >= 0 {
				at = append(at, i)
			}
		}
		return at
	}
	for k, i := range split(a) {
		if js := split(b); k < len(js) {
			out = append(out, a[:i]+b[js[k]:], b[:js[k]]+a[i:])
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == a || s == b })
}

// presentsSpliced sends the two tokens' parts in other arrangements, each of
// which may show neither person's page.
func (w *world) presentsSpliced(ctx context.Context, who, one, other string) error {
	a, err := w.signedIn(ctx, one)
	if err != nil {
		return err
	}
	b, err := w.signedIn(ctx, other)
	if err != nil {
		return err
	}
	if len(a.current().value) < 2 || len(b.current().value) < 2 {
		return &failedControl{"there are no two tokens to take parts of"}
	}
	for _, v := range spliced(a.current().value, b.current().value) {
		if err := w.presentsValue(ctx, who, a, v); err != nil {
			return err
		}
	}
	return nil
}

// presentsValue brings a made-up token to where its owner is, without the
// companions that would open a page alone; what comes of it is judged with the
// other tries.
func (w *world) presentsValue(ctx context.Context, who string, owner *person, value string) error {
	w.keepSecret(value)
	session, err := w.sessionNames(ctx)
	if err != nil {
		return err
	}
	t := owner.current()
	t.value = value
	t.with = slices.DeleteFunc(slices.Clone(t.with), func(c farmspec.Cookie) bool { return session[c.Name] })
	a, err := w.present(ctx, who, owner, t, owner.at, w.home(owner.at))
	if err != nil {
		return err
	}
	w.handoff.tries = append(w.handoff.tries, a)
	return ctx.Err()
}

// jwt is a token in the compact form of RFC 7515.
type jwt struct {
	header, claims map[string]any
	parts          [3]string
}

func readJWT(s string) (t jwt, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return t, false
	}
	t.parts = [3]string(parts)
	for i, into := range []*map[string]any{&t.header, &t.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, into) != nil {
			return t, false
		}
	}
	_, ok = t.header["alg"].(string)
	return t, ok
}

func jwtPart(v map[string]any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "" // what came from JSON goes to JSON
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// with is a copy of a header or of claims with a field changed.
func with(v map[string]any, name string, value any) map[string]any {
	c := map[string]any{name: value}
	for k, old := range v {
		if k != name {
			c[k] = old
		}
	}
	return c
}

// weakForms are forgeries that careless libraries accept (RFC 8725, section
// 2.1; WSTG-SESS-10): without a signature, under keys that everybody knows, or
// with other content under the old signature.
func (t jwt) weakForms() []string {
	var out []string
	for _, none := range []string{"none", "None", "NONE"} {
		head := jwtPart(with(t.header, "alg", none)) + "." + t.parts[1] + "."
		out = append(out, head, head+t.parts[2])
	}
	for _, key := range []string{"", "secret", "changeme", "your-256-bit-secret"} {
		signed := jwtPart(with(t.header, "alg", "HS256")) + "." + t.parts[1]
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(signed))
		out = append(out, signed+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	}
	out = append(out, t.parts[0]+"."+t.parts[1]+".")
	for _, name := range []string{"exp", "iat", "nbf"} {
		if at, ok := t.claims[name].(float64); ok {
			out = append(out, t.parts[0]+"."+jwtPart(with(t.claims, name, at+1))+"."+t.parts[2])
		}
	}
	return out
}

// presentsWeakJWT does nothing where the token is no JWT.
func (w *world) presentsWeakJWT(ctx context.Context, who, whose string) error {
	p, err := w.signedIn(ctx, whose)
	if err != nil {
		return err
	}
	t, ok := readJWT(p.current().value)
	if !ok {
		return nil
	}
	for _, v := range t.weakForms() {
		if v == p.current().value {
			continue
		}
		if err := w.presentsValue(ctx, who, p, v); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) refusesEveryForm(ctx context.Context) error {
	if len(w.handoff.tries) > 0 {
		return w.refusesAll(ctx)
	}
	return w.expect(true, nil, "no token in a weak form of JWT", "the token is no JWT")
}

func (w *world) logsAreRead(ctx context.Context) error {
	logs, err := w.hooks.Logs.Read(ctx)
	if err != nil {
		return fmt.Errorf("read the logs: %w", err)
	}
	w.tokens.logs = logs
	return nil
}

// logsShowNothing looks for each token that the person carried, whole, and,
// where the keys are at hand, for the session ID in it. The logs must tell of
// her at all: one that is empty hides nothing.
func (w *world) logsShowNothing(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	secrets := map[string]string{}
	for _, t := range p.tokens {
		secrets[t.value] = "a token"
		if w.hooks.Keys != nil {
			plain, err := w.plain(t)
			if err != nil {
				return err
			}
			secrets[plain.ID] = "a session ID"
		}
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(w.tokens.logs)) {
		text := w.tokens.logs[name]
		size += len(text)
		for secret, what := range secrets {
			if strings.Contains(text, secret) || strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				return w.expect(false, nil, "no token in the logs", what+" in the log of "+name)
			}
		}
	}
	if size == 0 {
		return &failedControl{"the logs are empty, so they can show nothing"}
	}
	return w.expect(true, nil, "no token in the logs", fmt.Sprintf("none of %d in %d logs", len(secrets), len(w.tokens.logs)))
}
