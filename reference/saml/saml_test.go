package saml

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"
)

var (
	provider = mustKey("provider")
	stranger = mustKey("stranger")
	rsaKey   = sync.OnceValue(func() Key {
		signer, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		k, err := CertifyKey("provider", signer)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func mustKey(name string) Key {
	k, err := NewKey(name)
	if err != nil {
		panic(err)
	}
	return k
}

func knownAs(k Key) func(string) (Peer, bool) {
	return only(Peer{Entity: "https://provider.example", Certificate: k.Certificate})
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func aRequest() Message {
	return Message{
		Kind: LogoutRequest, ID: "_1", Issuer: "https://provider.example", Destination: "https://farm.example/slo?a=b",
		IssueInstant: noon, NotOnOrAfter: noon.Add(time.Minute), Reason: ByAdmin, NameID: `ada & "co" <x>`,
		SessionIndexes: []string{"one", "two"}, RelayState: "back to/here & there",
	}
}

func messages() []Message {
	response := Message{
		Kind: LogoutResponse, ID: "_2", Issuer: "https://provider.example", Destination: "https://farm.example/slo",
		IssueInstant: noon, InResponseTo: "_1", Status: PartialLogout,
	}
	success := response
	success.Status = Success
	return []Message{
		aRequest(), response, success,
		{Kind: AuthnRequest, ID: "_3", Issuer: "https://provider.example", Destination: "https://idp.example/sso", IssueInstant: noon, SignOn: "https://farm.example/acs"},
		{
			Kind: SignOnResponse, ID: "_4", Issuer: "https://provider.example", Destination: "https://farm.example/acs", IssueInstant: noon,
			InResponseTo: "_3", Status: Success, Assertion: &Assertion{
				ID: "_5", Issuer: "https://provider.example", NameID: "ada", SessionIndex: "_6", IssueInstant: noon, Audience: "https://farm.example",
				Recipient: "https://farm.example/acs", InResponseTo: "_3", NotBefore: noon, NotOnOrAfter: noon.Add(time.Minute),
				AuthnInstant: noon.Add(-time.Hour), SessionNotOnOrAfter: noon.Add(time.Hour),
			},
		},
	}
}

// What one side seals the other opens, and reads the same.
func TestSealAndOpen(t *testing.T) {
	for name, key := range map[string]Key{"ECDSA": provider, "RSA": rsaKey()} {
		for _, m := range messages() {
			for _, b := range []Binding{Redirect, Post, SOAP} {
				t.Run(name+" "+string(m.Kind)+" "+string(b), func(t *testing.T) {
					w, err := Seal(m, b, key)
					if err != nil {
						t.Fatal(err)
					}
					if b == Redirect {
						u, err := url.Parse(w.URL)
						if err != nil || !strings.HasPrefix(w.URL, m.Destination) {
							t.Fatalf("the address is %s (%v), want one that begins with %s", w.URL, err, m.Destination)
						}
						w.Query = strings.TrimPrefix(u.RawQuery, "a=b&")
					}
					got, err := Open(w, knownAs(key))
					if err != nil {
						t.Fatal(err)
					}
					want := m
					if b == SOAP {
						want.RelayState = "" // there is no place for one
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("message (-sealed +opened):\n%s", diff)
					}
				})
			}
		}
	}
}

// edited is a sealed request with its XML changed, or its envelope's.
func edited(t *testing.T, b Binding, change func(message *etree.Element) *etree.Element) Wire {
	t.Helper()
	w, err := Seal(aRequest(), b, provider)
	if err != nil {
		t.Fatal(err)
	}
	raw := w.Body
	if b == Post {
		if raw, err = base64.StdEncoding.DecodeString(w.Form.Get("SAMLRequest")); err != nil {
			t.Fatal(err)
		}
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		t.Fatal(err)
	}
	message := doc.Root()
	if b == SOAP {
		message = doc.FindElement("/Envelope/Body/LogoutRequest")
	}
	if changed := change(message); changed != message {
		parent := message.Parent()
		parent.RemoveChild(message)
		parent.AddChild(changed)
	}
	if raw, err = doc.WriteToBytes(); err != nil {
		t.Fatal(err)
	}
	if b == SOAP {
		w.Body = raw
	} else {
		w.Form.Set("SAMLRequest", base64.StdEncoding.EncodeToString(raw))
	}
	return w
}

func TestOpenRefusesChangedMessages(t *testing.T) {
	setText := func(path, text string) func(*etree.Element) *etree.Element {
		return func(e *etree.Element) *etree.Element { e.FindElement(path).SetText(text); return e }
	}
	for _, tc := range []struct {
		name   string
		change func(*etree.Element) *etree.Element
		want   error
		why    string
	}{
		{"subject", setText("./NameID", "mallory"), ErrSignature, "the digest covers it"},
		{"index", setText("./SessionIndex", "three"), ErrSignature, "the digest covers it"},
		{"limit", func(e *etree.Element) *etree.Element { e.CreateAttr("NotOnOrAfter", "2036-01-01T00:00:00Z"); return e }, ErrSignature, "the digest covers it"},
		{"value", setText("./Signature/SignatureValue", base64.StdEncoding.EncodeToString(make([]byte, 64))), ErrSignature, "zeroes are no signature"},
		{"short value", setText("./Signature/SignatureValue", "AAAA"), ErrSignature, "r and s have a length"},
		{"no signature", func(e *etree.Element) *etree.Element {
			e.RemoveChild(e.FindElement("./Signature"))
			return e
		}, ErrUnsigned, "3.7.3.1 wants it authenticated"},
		{"two signatures", func(e *etree.Element) *etree.Element {
			e.AddChild(e.FindElement("./Signature").Copy())
			return e
		}, ErrUnsigned, "which of them would count?"},
		{"SHA-1", func(e *etree.Element) *etree.Element {
			e.FindElement(".//SignatureMethod").CreateAttr("Algorithm", "http://www.w3.org/2000/09/xmldsig#rsa-sha1")
			return e
		}, ErrSignature, "no method of today"},
		{"transform", func(e *etree.Element) *etree.Element {
			e.FindElement(".//Transform").CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
			return e
		}, ErrSignature, "5.4.4 allows two, so that nothing is cut out of what is signed"},
		{"reference to nothing", func(e *etree.Element) *etree.Element {
			e.FindElement(".//Reference").CreateAttr("URI", "")
			return e
		}, ErrUnsigned, "5.4.2 wants the message's ID"},
		{"wrapped in extensions", func(e *etree.Element) *etree.Element {
			forged := e.Copy()
			forged.CreateAttr("ID", "_forged")
			forged.FindElement("./NameID").SetText("mallory")
			inner := e.Copy()
			inner.RemoveChild(inner.FindElement("./Signature"))
			outside := etree.NewElement("samlp:Extensions")
			outside.AddChild(inner)
			forged.InsertChildAt(2, outside)
			return forged
		}, ErrUnsigned, "the signature is of the inner element, the outer would be obeyed"},
		{"wrapped with its signature", func(e *etree.Element) *etree.Element {
			forged := e.Copy()
			forged.CreateAttr("ID", "_forged")
			forged.FindElement("./NameID").SetText("mallory")
			forged.RemoveChild(forged.FindElement("./Signature"))
			outside := etree.NewElement("samlp:Extensions")
			outside.AddChild(e.Copy())
			forged.InsertChildAt(1, outside)
			return forged
		}, ErrUnsigned, "the outer element has no signature"},
		{"wrapped under the same ID", func(e *etree.Element) *etree.Element {
			forged := e.Copy()
			forged.FindElement("./NameID").SetText("mallory")
			inner := e.Copy()
			inner.RemoveChild(inner.FindElement("./Signature"))
			outside := etree.NewElement("samlp:Extensions")
			outside.AddChild(inner)
			forged.InsertChildAt(2, outside)
			return forged
		}, ErrMessage, "an ID that is there twice names nothing"},
	} {
		for _, b := range []Binding{Post, SOAP} {
			if b == Post && strings.HasPrefix(tc.name, "wrapped") {
				continue // the root cannot be put elsewhere by edited
			}
			t.Run(tc.name+" "+string(b), func(t *testing.T) {
				m, err := Open(edited(t, b, tc.change), knownAs(provider))
				if !errors.Is(err, tc.want) {
					t.Errorf("Open = %+v, %v; want %v (%s)", m, err, tc.want, tc.why)
				}
			})
		}
	}
}

// A comment in a name neither shortens it nor goes unnoticed.
func TestOpenReadsBrokenTextAsNone(t *testing.T) {
	e := aRequest()
	root := e.element()
	root.FindElement("./NameID").AddChild(etree.NewComment("x"))
	if _, err := decode(root); !errors.Is(err, ErrMessage) {
		t.Errorf("decode with a comment in the name = %v, want %v", err, ErrMessage)
	}
}

func TestOpenRedirect(t *testing.T) {
	w, err := Seal(aRequest(), Redirect, provider)
	if err != nil {
		t.Fatal(err)
	}
	other := aRequest()
	other.NameID = "mallory"
	forged, err := Seal(other, Redirect, stranger)
	if err != nil {
		t.Fatal(err)
	}
	part := func(q, name string) string {
		for pair := range strings.SplitSeq(q, "&") {
			if strings.HasPrefix(pair, name+"=") {
				return pair
			}
		}
		t.Fatalf("no %s in %s", name, q)
		return ""
	}
	signature := "&" + part(w.Query, "Signature")
	for _, tc := range []struct {
		name, query string
		want        error
		why         string
	}{
		{"as sent", w.Query, nil, "the control"},
		{"with more", w.Query + "&other=1", nil, "what is not SAML's is not signed"},
		{"other key", forged.Query, ErrSignature, "the metadata name one key"},
		{"other message", strings.Replace(w.Query, part(w.Query, "SAMLRequest"), part(forged.Query, "SAMLRequest"), 1), ErrSignature, "the octets are signed"},
		{"other relay state", strings.Replace(w.Query, part(w.Query, "RelayState"), "RelayState=elsewhere", 1), ErrSignature, "it is signed too"},
		{"no relay state", strings.Replace(w.Query, "&"+part(w.Query, "RelayState"), "", 1), ErrSignature, "its absence would be signed"},
		{"unsigned", strings.Replace(w.Query, signature, "", 1), ErrUnsigned, "3.7.3.1"},
		{"empty signature", strings.Replace(w.Query, signature, "&Signature=", 1), ErrUnsigned, "3.7.3.1"},
		{"message twice", w.Query + "&" + part(forged.Query, "SAMLRequest"), ErrMessage, "which of them would count?"},
		{"as a response", strings.Replace(w.Query, "SAMLRequest=", "SAMLResponse=", 1), ErrSignature, "the parameter's name is signed"},
		{"nothing", "", ErrMessage, "no message"},
		{"weak method", strings.Replace(w.Query, part(w.Query, "SigAlg"), "SigAlg="+url.QueryEscape("http://www.w3.org/2000/09/xmldsig#rsa-sha1"), 1), ErrSignature, "no method of today"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := Open(Wire{Binding: Redirect, Query: tc.query}, knownAs(provider))
			if !errors.Is(err, tc.want) {
				t.Errorf("Open = %+v, %v; want %v (%s)", m, err, tc.want, tc.why)
			}
		})
	}
}

func TestParseIsHardened(t *testing.T) {
	deep := strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1)
	for _, tc := range []struct {
		name, text string
		ok         bool
		why        string
	}{
		{"plain", `<a ID="x"><b/></a>`, true, "the control"},
		{"declaration", `<?xml version="1.0"?><a/>`, true, "as documents begin"},
		{"doc type", `<!DOCTYPE a [<!ENTITY x "y">]><a/>`, false, "entities"},
		{"instruction", `<a><?php ?></a>`, false, "no place in a message"},
		{"second declaration", `<?xml version="1.0"?><?xml version="1.0"?><a/>`, false, "one document"},
		{"entity", `<a>&x;</a>`, false, "undeclared"},
		{"two roots", `<a/><b/>`, false, "which of them?"},
		{"no root", `<!-- -->`, false, "nothing"},
		{"text outside", `x<a/>`, false, "not XML"},
		{"open", `<a>`, false, "not XML"},
		{"attribute twice", `<a x="1" x="2"/>`, false, "which of them?"},
		{"ID twice", `<a ID="x"><b ID="x"/></a>`, false, "which of them?"},
		{"ID twice in other letters", `<a ID="x"><b Id="x"/></a>`, false, "schemas differ in how they write it"},
		{"two colons", `<a:b:c xmlns:a="u"/>`, false, "libraries disagree about it"},
		{"deep", deep, false, "bounded"},
		{"many", "<a>" + strings.Repeat("<b/>", maxElements) + "</a>", false, "bounded"},
		{"long", "<a>" + strings.Repeat("x", maxMessage) + "</a>", false, "bounded"},
		{"empty", "", false, "nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root, err := parse([]byte(tc.text))
			if (err == nil) != tc.ok || tc.ok == (root == nil) {
				t.Errorf("parse = %v, %v; want ok %v (%s)", root, err, tc.ok, tc.why)
			}
		})
	}
}

// A megabyte that packs into a kilobyte is not unpacked.
func TestInflateIsBounded(t *testing.T) {
	packed, err := deflate(make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inflate(base64.StdEncoding.EncodeToString(packed)); !errors.Is(err, ErrMessage) {
		t.Errorf("inflate = %v, want %v", err, ErrMessage)
	}
}

func TestDecodeWantsWhatItNeeds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Message, *etree.Element)
	}{
		{"no ID", func(_ *Message, e *etree.Element) { e.RemoveAttr("ID") }},
		{"version", func(_ *Message, e *etree.Element) { e.CreateAttr("Version", "1.1") }},
		{"instant", func(_ *Message, e *etree.Element) { e.CreateAttr("IssueInstant", "yesterday") }},
		{"local time", func(_ *Message, e *etree.Element) { e.CreateAttr("IssueInstant", "2026-11-22T12:00:00+01:00") }},
		{"no subject", func(_ *Message, e *etree.Element) { e.RemoveChild(e.FindElement("./NameID")) }},
		{"empty index", func(_ *Message, e *etree.Element) { e.FindElement("./SessionIndex").SetText(" ") }},
		{"other namespace", func(_ *Message, e *etree.Element) { e.CreateAttr("xmlns:samlp", "urn:else") }},
		{"other element", func(_ *Message, e *etree.Element) { e.Tag = "ArtifactResolve" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := aRequest()
			e := m.element()
			tc.change(&m, e)
			if got, err := decode(e); !errors.Is(err, ErrMessage) {
				t.Errorf("decode = %+v, %v; want %v", got, err, ErrMessage)
			}
		})
	}
}

// FuzzOpen feeds strangers' bytes to every binding: nothing may panic, and
// what nobody signed is never opened.
func FuzzOpen(f *testing.F) {
	for _, m := range messages() {
		for _, b := range []Binding{Redirect, Post, SOAP} {
			w, err := Seal(m, b, stranger)
			if err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(w.Query))
			f.Add(w.Body)
			for _, v := range w.Form {
				raw, _ := base64.StdEncoding.DecodeString(v[0])
				f.Add(raw)
			}
		}
	}
	f.Add([]byte(`<!DOCTYPE a><a/>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		form := url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(text)}}
		packed, err := deflate(text)
		if err != nil {
			t.Fatal(err)
		}
		query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed)) + "&SigAlg=x&Signature=AAAA"
		for _, w := range []Wire{
			{Binding: Redirect, Query: string(text)}, {Binding: Redirect, Query: query}, {Binding: Post, Form: form}, {Binding: SOAP, Body: text},
		} {
			if m, err := Open(w, knownAs(provider)); err == nil {
				t.Errorf("opened %+v, which the provider has not signed", m)
			}
			if m, err := Peek(w); err == nil && m.Kind == LogoutRequest && m.NameID == "" {
				t.Errorf("read a log-out request about nobody: %+v", m)
			}
		}
	})
}
