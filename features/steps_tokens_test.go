package features

import (
	"compress/zlib"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestVarying holds the estimate against tokens whose randomness is known: it
// must never be below it, and not so far above that short ones pass for long.
func TestVarying(t *testing.T) {
	draw := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	for _, tc := range []struct {
		name          string
		make          func() string
		least, atMost float64
		why           string
	}{
		{"128 bits in hex", func() string { return hex.EncodeToString(draw(16)) }, 128, 128, "each of 32 places has any of 16 characters"},
		{"128 bits in base64", func() string { return base64.RawURLEncoding.EncodeToString(draw(16)) }, 128, 132, "the last place has four characters"},
		{"64 bits in hex", func() string { return hex.EncodeToString(draw(8)) }, 64, 64, "half as many places"},
		{"UUID", func() string {
			b := draw(16)
			b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}, 122, 122, "version and variant are fixed: ASVS names it as too short"},
		{"a long prefix and 32 bits", func() string { return "session:v1:server-1:" + hex.EncodeToString(draw(4)) }, 32, 32, "what never changes counts nothing"},
		{"six digits", func() string {
			return fmt.Sprintf("%06d", (int(draw(1)[0])<<16|int(draw(1)[0])<<8|int(draw(1)[0]))%1000000)
		}, 19.9, 20, "ten characters at six places"},
		{"signed 128 bits", func() string {
			return "s:" + base64.RawURLEncoding.EncodeToString(draw(16)) + "." + base64.RawStdEncoding.EncodeToString(draw(32))
		}, 128, 400, "a signature changes as well: an upper bound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var sample []string
			for range manyLogIns {
				sample = append(sample, tc.make())
			}
			if n := varying(sample); n < tc.least-0.1 || n > tc.atMost+0.1 {
				t.Errorf("%.1f bits of %q vary; want %v to %v (%s)", n, sample[0], tc.least, tc.atMost, tc.why)
			}
		})
	}
}

func TestSpliced(t *testing.T) {
	const a, b = "aaaa.AAAA", "bbbb.BBBB"
	got := map[string]bool{}
	for _, s := range spliced(a, b) {
		if s == a || s == b {
			t.Errorf("%q is no new token", s)
		}
		got[s] = true
	}
	for _, want := range []string{"aaaa.BBBB", "bbbb.AAAA"} {
		if !got[want] {
			t.Errorf("no %q among %v: the parts between separators are exchanged", want, got)
		}
	}
	if s := spliced("same", "same"); len(s) != 1 {
		t.Errorf("of one token alone %v", s)
	}
}

func TestWeakForms(t *testing.T) {
	enc := base64.RawURLEncoding.EncodeToString
	token := enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(`{"sub":"ada","exp":1900000000}`)) + "." + enc([]byte("signature"))
	parsed, ok := readJWT(token)
	if !ok {
		t.Fatal("a JWT is not known as one")
	}
	forms := map[string]bool{}
	for _, f := range parsed.weakForms() {
		if f == token {
			t.Error("the token itself is no weak form")
		}
		forms[f] = true
	}
	none := enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(`{"sub":"ada","exp":1900000000}`)) + "."
	if !forms[none] || len(forms) < 10 {
		t.Errorf("%d forms, and without a signature: %v", len(forms), forms[none])
	}
	for _, s := range []string{"a.b.c", "plain", enc([]byte(`{"typ":"x"}`)) + "." + enc([]byte(`{}`)) + ".c", enc([]byte(`[1]`)) + ".e30.c"} {
		if _, ok := readJWT(s); ok {
			t.Errorf("%q passes for a JWT", s)
		}
	}
}

// What a signed cookie has of its user is read whatever it is wrapped in.
func TestDecodings(t *testing.T) {
	const inside = `{"_user_id":"alice"}`
	b64 := base64.RawURLEncoding.EncodeToString
	var small strings.Builder
	z := zlib.NewWriter(&small)
	if _, err := z.Write([]byte(inside)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, value string
		shown       bool
		why         string
	}{
		{"plain", inside, true, "nothing hides it"},
		{"base64, signed", b64([]byte(inside)) + ".awLF-g.x3mhKhGErrjZ", true, "itsdangerous and others sign what they encode"},
		{"compressed, base64, signed", "." + b64([]byte(small.String())) + ".awLF-g.x3mhKhGErrjZ", true, "itsdangerous compresses where that is shorter"},
		{"compressed and cut", "." + b64([]byte(small.String()[:12])) + ".awLF-g.x3mhKhGErrjZ", false, "half of it is nothing that can be read"},
		{"base64 twice", b64([]byte(b64([]byte(inside)))), true, "three deep"},
		{"another's", b64([]byte(`{"_user_id":"bob"}`)), false, "it is not her name"},
	} {
		shown := slices.ContainsFunc(decodings(tc.value), func(b []byte) bool { return strings.Contains(string(b), "alice") })
		if shown != tc.shown {
			t.Errorf("%s: shown is %v, want %v: %s", tc.name, shown, tc.shown, tc.why)
		}
	}
}
