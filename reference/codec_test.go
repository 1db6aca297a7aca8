package reference_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/farmspec/farmspec/reference"
)

func newKey(t testing.TB, id byte) reference.Key {
	t.Helper()
	k, err := reference.NewKey(id, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCodec(t testing.TB) *reference.Codec {
	return reference.NewCodec(reference.NewKeyRing(newKey(t, 1)), rand.Reader)
}

var someToken = reference.Token{ID: reference.ID{1, 2, 3, 0xff}, Timestamp: 1_800_000_000_123}

func seal(t testing.TB, c *reference.Codec, tok reference.Token) string {
	t.Helper()
	s, err := c.Seal(tok)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedTokenOpens(t *testing.T) {
	c := newCodec(t)
	for _, tok := range []reference.Token{someToken, {}, {Timestamp: -1}, {ID: reference.ID(bytes.Repeat([]byte{0xff}, 16)), Timestamp: 1<<63 - 1}} {
		s := seal(t, c, tok)
		if len(s) != reference.SealedLen {
			t.Errorf("sealed token has %d characters, want %d", len(s), reference.SealedLen)
		}
		if got, err := c.Open(s); err != nil || got != tok {
			t.Errorf("Open(Seal(t)) = %v, %v, want %v", got, err, tok)
		}
		h, err := c.SealHandoff("server-2", tok, 1<<48-1)
		if err != nil || len(h) != reference.SealedHandoffLen {
			t.Errorf("SealHandoff = %d characters, %v, want %d", len(h), err, reference.SealedHandoffLen)
		}
		if got, at, err := c.OpenHandoff("server-2", h); err != nil || got != tok || at != 1<<48-1 {
			t.Errorf("OpenHandoff(SealHandoff(t)) = %v at %d, %v, want %v", got, at, err, tok)
		}
	}
}

func TestSealingTwiceShowsNoStructure(t *testing.T) {
	c := newCodec(t)
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b[2:] // after version and key ID, which are public
	}
	a, b := raw(seal(t, c, someToken)), raw(seal(t, c, someToken))
	for i := 0; i+8 <= len(a); i++ {
		if bytes.Contains(b, a[i:i+8]) {
			t.Errorf("two seals of one token share 8 bytes at %d", i)
		}
	}
	if bytes.Contains(a, someToken.ID[:4]) {
		t.Error("the session ID shows in the sealed token")
	}
}

func TestWhatDoesNotOpen(t *testing.T) {
	c := newCodec(t)
	good := seal(t, c, someToken)
	handoff, err := c.SealHandoff("server-2", someToken, 5)
	if err != nil {
		t.Fatal(err)
	}
	reframe := func(f func(b []byte) []byte) string {
		b, _ := base64.RawURLEncoding.DecodeString(good)
		return base64.RawURLEncoding.EncodeToString(f(b))
	}
	for _, tc := range []struct{ name, sealed, why string }{
		{"nothing", "", "an empty cookie is no token"},
		{"one character short", good[:len(good)-1], "the length is fixed"},
		{"one character long", good + "A", "the length is fixed"},
		{"padded", good + "=", "one spelling"},
		{"a line break inside", good[:10] + "\n" + good[10:], "Go's decoder skips line breaks"},
		{"a line break for a character", good[:10] + "\n" + good[11:], "Go's decoder skips line breaks"},
		{"four line breaks at the end", good[:68] + "\r\n\r\n", "Go's decoder skips line breaks"},
		{"standard alphabet", strings.Repeat("+", 72), "base64url only"},
		{"not ASCII", strings.Repeat("é", 36), "72 bytes, no alphabet"},
		{"another version", reframe(func(b []byte) []byte { b[0] = 2; return b }), "the version is authenticated"},
		{"version zero", reframe(func(b []byte) []byte { b[0] = 0; return b }), "the version is authenticated"},
		{"another key ID", reframe(func(b []byte) []byte { b[1] = 9; return b }), "the ring has no such key"},
		{"a hand-off", handoff, "purposes are not interchangeable"},
		{"a hand-off cut to length", handoff[:72], "purposes are not interchangeable"},
		{"foreign", seal(t, newCodec(t), someToken), "the same key ID, another key"},
		{"zeroes", strings.Repeat("A", 72), "nobody sealed it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := c.Open(tc.sealed)
			if err != reference.ErrSealed || !got.IsZero() {
				t.Errorf("Open = %v, %v, want nothing and exactly ErrSealed (%s)", got, err, tc.why)
			}
		})
	}
	b, _ := base64.RawURLEncoding.DecodeString(good)
	for i := range len(b) * 8 {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := c.Open(base64.RawURLEncoding.EncodeToString(flipped)); err != reference.ErrSealed {
			t.Errorf("with bit %d flipped: Open = %v, want ErrSealed", i, err)
		}
	}
}

func TestHandoffIsBoundToItsAudience(t *testing.T) {
	c := newCodec(t)
	h, err := c.SealHandoff("server-2", someToken, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, audience := range []string{"", "server-3", "server-", "server-22", "Server-2"} {
		if _, _, err := c.OpenHandoff(audience, h); err != reference.ErrSealed {
			t.Errorf("hand-off for server-2 opened by %q: %v, want ErrSealed", audience, err)
		}
	}
	if _, _, err := c.OpenHandoff("", seal(t, c, someToken)); err != reference.ErrSealed {
		t.Errorf("a cookie token opened as a hand-off: %v, want ErrSealed", err)
	}
	for _, at := range []int64{-1, 1 << 48} {
		if _, err := c.SealHandoff("server-2", someToken, at); err == nil {
			t.Errorf("SealHandoff at %d: no error, though it does not fit 48 bits", at)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	k1, k2 := newKey(t, 1), newKey(t, 2)
	ring1, ring2 := reference.NewKeyRing(k1), reference.NewKeyRing(k1) // two servers
	s1, s2 := reference.NewCodec(ring1, rand.Reader), reference.NewCodec(ring2, rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opens := func(when string, c *reference.Codec, s string) {
		t.Helper()
		if got, err := c.Open(s); err != nil || got != someToken {
			t.Errorf("%s: Open = %v, %v", when, got, err)
		}
	}
	before := seal(t, s1, someToken)
	ring1.Add(k2)
	opens("server 1 knows the new key and seals with the old", s2, seal(t, s1, someToken))
	ring2.Add(k2)
	must(ring1.Use(2))
	during := seal(t, s1, someToken)
	opens("server 1 seals with the new key", s2, during)
	opens("server 2 seals with the old key", s1, seal(t, s2, someToken))
	must(ring2.Use(2))
	opens("both seal with the new key", s1, seal(t, s2, someToken))
	opens("an old token on a new ring", s2, before)
	must(ring1.Retire(1))
	if _, err := s1.Open(before); err != reference.ErrSealed {
		t.Errorf("token of a retired key: %v, want ErrSealed", err)
	}
	opens("a new token after the old key has gone", s1, during)

	if err := ring1.Use(7); err == nil || !strings.Contains(err.Error(), "key 7") {
		t.Errorf("Use of an absent key = %v", err)
	}
	if err := ring1.Retire(2); err == nil || !strings.Contains(err.Error(), "seals") {
		t.Errorf("Retire of the sealing key = %v", err)
	}
	if _, err := reference.NewCodec(reference.NewKeyRing(), rand.Reader).Seal(someToken); err == nil {
		t.Error("an empty ring sealed")
	}
	broken := iotest.ErrReader(errors.New("no entropy"))
	if s, err := reference.NewCodec(ring1, broken).Seal(someToken); err == nil || s != "" {
		t.Errorf("Seal without randomness = %q, %v", s, err)
	}
}

func TestKeyRingIsSafeConcurrently(t *testing.T) {
	ring := reference.NewKeyRing(newKey(t, 0))
	c := reference.NewCodec(ring, rand.Reader)
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for range 200 {
				s, err := c.Seal(someToken)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Open(s); err != nil {
					t.Error("a token sealed just now does not open, though no key was retired")
				}
			}
		})
	}
	for id := range byte(50) {
		ring.Add(newKey(t, id+1))
		if err := ring.Use(id + 1); err != nil {
			t.Error(err)
		}
	}
	done.Wait()
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := newKey(t, 3)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k, "token", someToken)
	asJSON, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		text += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, []reference.Key{k}) + fmt.Sprintf(verb, someToken) + fmt.Sprintf(verb, &someToken)
	}
	for name, secret := range map[string]string{
		"key in hex": hex.EncodeToString(k.Secret[:8]), "key in decimal": strings.Trim(fmt.Sprint(k.Secret[:4]), "[]"),
		"token in hex": hex.EncodeToString(someToken.ID[:4]), "timestamp": fmt.Sprint(someToken.Timestamp), "token in decimal": "1 2 3 255",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s was printed", name)
		}
	}
}

func TestCodecAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forgetful")
	}
	c := newCodec(t)
	buf := make([]byte, 0, reference.SealedLen)
	s := seal(t, c, someToken)
	for name, f := range map[string]func(){
		"AppendSeal": func() { buf, _ = c.AppendSeal(buf[:0], someToken) },
		"Open":       func() { _, _ = c.Open(s) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	// Fixed keys and nonces: a crash found today is one tomorrow.
	c := reference.NewCodec(reference.NewKeyRing(reference.Key{ID: 1, Secret: [32]byte{7}}), mathrand.NewChaCha8([32]byte{}))
	good := seal(f, c, someToken)
	handoff, err := c.SealHandoff("server-2", someToken, 5)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good, handoff, good[:71], strings.Repeat("A", 72), "", "AQE"} {
		f.Add(s, "server-2")
	}
	f.Fuzz(func(t *testing.T, s, audience string) {
		// Only what this codec has sealed may open, in that one spelling.
		if tok, err := c.Open(s); err == nil && (s != good || tok != someToken) {
			t.Errorf("opened as %v", tok)
		} else if err != nil && err != reference.ErrSealed {
			t.Errorf("refused by %v, want exactly ErrSealed", err)
		}
		if tok, _, err := c.OpenHandoff(audience, s); err == nil && (s != handoff || audience != "server-2" || tok != someToken) {
			t.Errorf("opened as %v for %q", tok, audience)
		} else if err != nil && err != reference.ErrSealed {
			t.Errorf("refused by %v, want exactly ErrSealed", err)
		}
	})
}

func BenchmarkAppendSeal(b *testing.B) {
	c, buf := newCodec(b), make([]byte, 0, reference.SealedLen)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = c.AppendSeal(buf[:0], someToken)
	}
}

func BenchmarkOpen(b *testing.B) {
	c := newCodec(b)
	s := seal(b, c, someToken)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(s); err != nil {
			b.Fatal(err)
		}
	}
}
