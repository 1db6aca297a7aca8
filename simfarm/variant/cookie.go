package variant

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Farms with other cookies, and other things in them.

func init() {
	register(
		Variant{
			ID: "other-cookie-name", Name: "The session cookie has another name",
			Differs: "a name with capitals, a dot and an exclamation mark, which RFC 6265 allows",
			Options: simfarm.Options{Topology: "split-domain", Wrap: simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Farm.Cookie = "__Host-Shop.SID!" }}},
			Target:  func(t *farmspec.Target) { t.Carrier.Name = "__Host-Shop.SID!" },
		},
		Variant{
			ID: "companion-cookies", Name: "Every answer brings other cookies as well, with new values each time",
			Differs: "cookies that change and mean nothing; only replay tells which one is the token",
			Options: simfarm.Options{Wrap: edited(func(_ *http.Request, a *answer) {
				theirs := a.header["Set-Cookie"]
				a.header["Set-Cookie"] = nil
				a.header.Add("Set-Cookie", fmt.Sprintf("_ga=GA1.%d.%d; Path=/; Max-Age=63072000", mrand.Uint32(), mrand.Uint32()))
				a.header.Add("Set-Cookie", "lb="+rand.Text()+"; Path=/; HttpOnly")
				a.header["Set-Cookie"] = append(a.header["Set-Cookie"], theirs...)
				a.header.Add("Set-Cookie", "__Host-affinity="+rand.Text()+"; Path=/; Secure; HttpOnly; SameSite=Strict")
			})},
		},
		Variant{
			ID: "cookie-after-log-out", Name: "Log-out puts a visitor's cookie in the place of the session's",
			Differs: "after log-out the browser has a new session cookie, which opens nothing, as Express does it",
			Options: simfarm.Options{Wrap: edited(func(r *http.Request, a *answer) {
				for i, line := range a.header["Set-Cookie"] {
					if rest, ok := strings.CutPrefix(line, "__Secure-farm=;"); ok && r.Method == http.MethodPost {
						a.header["Set-Cookie"][i] = "__Secure-farm=" + rand.Text() + rand.Text() + ";" + strings.Replace(rest, "; Max-Age=0", "", 1)
					}
				}
			})},
		},
		Variant{
			ID: "strict-cookie-with-age", Name: "The session cookie is SameSite=Strict and expires in the browser when the session would",
			Differs: "attributes beyond those that are asked for; the browser drops the cookie by itself after the idle time-out",
			Options: simfarm.Options{Handoff: "claimed", Wrap: edited(func(_ *http.Request, a *answer) {
				for i, line := range a.header["Set-Cookie"] {
					if strings.HasPrefix(line, "__Secure-farm=") && !strings.Contains(line, "Max-Age") {
						a.header["Set-Cookie"][i] = strings.Replace(line, "SameSite=Lax", "SameSite=Strict", 1) + "; Max-Age=1800"
					}
				}
			})},
		},
		Variant{
			ID: "other-codec", Name: "Tokens have another format: hexadecimal, in dotted groups, and of no fixed length",
			Differs: "nothing about a token's alphabet or length is promised; what is inside is sealed all the same",
			Options: simfarm.Options{Plant: func() simfarm.Wrap {
				var key [32]byte
				_, _ = rand.Read(key[:]) // crypto/rand.Read never fails
				block, err := aes.NewCipher(key[:])
				if err != nil {
					panic("variant: " + err.Error()) // the key has the length of one
				}
				box, err := cipher.NewGCMWithRandomNonce(block)
				if err != nil {
					panic("variant: " + err.Error())
				}
				return simfarm.Wrap{Member: func(c *web.ServerConfig) { c.Sealer = dotted{c.Sealer, box} }}
			}},
		},
	)
}

// dotted seals what a sealer has sealed once more, with up to 24 bytes of
// padding, and spells it "v7." and groups of 16 hex digits.
type dotted struct {
	web.Sealer
	box cipher.AEAD
}

func (d dotted) wrap(sealed string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	padded := append([]byte(sealed), make([]byte, mrand.IntN(25))...)
	s := hex.EncodeToString(d.box.Seal(nil, nil, padded, nil))
	var out strings.Builder
	out.WriteString("v7")
	for len(s) > 0 {
		n := min(16, len(s))
		out.WriteString("." + s[:n])
		s = s[n:]
	}
	return out.String(), nil
}

func (d dotted) unwrap(s string) (string, error) {
	groups, ok := strings.CutPrefix(s, "v7.")
	if !ok || strings.ToLower(s) != s {
		return "", reference.ErrSealed
	}
	var all strings.Builder
	for groups != "" {
		group, rest, more := strings.Cut(groups, ".")
		if len(group) > 16 || more != (len(group) == 16 && rest != "") {
			return "", reference.ErrSealed
		}
		all.WriteString(group)
		groups = rest
	}
	raw, err := hex.DecodeString(all.String())
	if err != nil {
		return "", reference.ErrSealed
	}
	padded, err := d.box.Open(nil, nil, raw, nil)
	if err != nil {
		return "", reference.ErrSealed
	}
	return strings.TrimRight(string(padded), "\x00"), nil
}

func (d dotted) Seal(t reference.Token) (string, error) { return d.wrap(d.Sealer.Seal(t)) }

func (d dotted) Open(s string) (reference.Token, error) {
	inner, err := d.unwrap(s)
	if err != nil {
		return reference.Token{}, err
	}
	return d.Sealer.Open(inner)
}

func (d dotted) SealHandoff(audience string, t reference.Token, at int64) (string, error) {
	return d.wrap(d.Sealer.SealHandoff(audience, t, at))
}

func (d dotted) OpenHandoff(audience, s string) (reference.Token, int64, error) {
	inner, err := d.unwrap(s)
	if err != nil {
		return reference.Token{}, 0, err
	}
	return d.Sealer.OpenHandoff(audience, inner)
}
