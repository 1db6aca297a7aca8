package saml

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	other "github.com/crewjam/saml"
	"golang.org/x/net/html"
)

// Another implementation's participant, which this provider is to understand
// and to be understood by.
func newOther(t *testing.T, p Peer, own Key) *other.ServiceProvider {
	t.Helper()
	parse := func(s string) url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return *u
	}
	descriptor := other.IDPSSODescriptor{}
	descriptor.KeyDescriptors = []other.KeyDescriptor{{Use: "signing", KeyInfo: other.KeyInfo{X509Data: other.X509Data{
		X509Certificates: []other.X509Certificate{{Data: base64.StdEncoding.EncodeToString(p.Certificate.Raw)}},
	}}}}
	descriptor.SingleLogoutServices = []other.Endpoint{{Binding: other.HTTPPostBinding, Location: p.Logout[Post]}}
	return &other.ServiceProvider{
		EntityID: "https://other.example", Key: own.Signer.(*rsa.PrivateKey), Certificate: own.Certificate,
		MetadataURL: parse("https://other.example/metadata"), AcsURL: parse("https://other.example/acs"), SloURL: parse("https://other.example/slo"),
		IDPMetadata:     &other.EntityDescriptor{EntityID: p.Entity, IDPSSODescriptors: []other.IDPSSODescriptor{descriptor}},
		SignatureMethod: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
	}
}

// A log-out that another implementation begins is obeyed here, and the answer
// satisfies it.
func TestAnotherImplementationsLogOut(t *testing.T) {
	theirs := rsaKey()
	self := Peer{Entity: "https://provider.example", Certificate: rsaKey().Certificate, Logout: everyBinding("provider.example")}
	sp := newOther(t, self, theirs)
	member := Member{Peer: Peer{
		Entity: sp.EntityID, Certificate: theirs.Certificate, SignOn: []string{"https://other.example/acs"}, Logout: everyBinding("other.example"),
	}}
	p, err := NewProvider(ProviderOptions{
		Party:  Party{Entity: self.Entity, Key: rsaKey(), Logout: self.Logout},
		SignOn: "https://provider.example/sso", Members: []Member{member},
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := p.Begin("ada")
	if err != nil {
		t.Fatal(err)
	}
	request := Message{ID: "_1", Issuer: sp.EntityID, SignOn: "https://other.example/acs", IssueInstant: time.Now()}
	if _, err := p.Respond(session, request); err != nil {
		t.Fatal(err)
	}

	page, err := sp.MakePostLogoutRequest("ada", "there")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := p.Receive(t.Context(), Wire{Binding: Post, Form: fields(t, page)})
	if err != nil {
		t.Fatalf("their request is refused: %v", err)
	}
	if _, alive := p.Who(session); alive {
		t.Error("after their request her session lives")
	}
	if got := reply.Answer.Form.Get("RelayState"); got != "there" {
		t.Errorf("the answer's relay state is %q, want theirs", got)
	}
	// Theirs looks for /slo at the host of its own.
	if err := sp.ValidateLogoutResponseForm(reply.Answer.Form.Get("SAMLResponse")); err != nil {
		t.Errorf("they refuse the answer: %v", err)
	}
}

// fields are the hidden fields of a page with one form.
func fields(t *testing.T, page []byte) url.Values {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	all := url.Values{}
	for n := range root.Descendants() {
		if n.Data != "input" {
			continue
		}
		a := map[string]string{}
		for _, attr := range n.Attr {
			a[attr.Key] = attr.Val
		}
		if a["name"] != "" {
			all.Set(a["name"], a["value"])
		}
	}
	return all
}
