package saml

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Kind is the element that a message is.
type Kind string

// The kinds.
const (
	LogoutRequest  Kind = "LogoutRequest"
	LogoutResponse Kind = "LogoutResponse"
	AuthnRequest   Kind = "AuthnRequest"
	SignOnResponse Kind = "Response"
)

func (k Kind) isResponse() bool { return k == LogoutResponse || k == SignOnResponse }

// Message is one of the four messages. Fields that its kind does not have are
// zero. Instants are whole milliseconds in UTC.
type Message struct {
	Kind                    Kind
	ID, Issuer, Destination string
	IssueInstant            time.Time
	// RelayState is not part of the message and not under an enveloped signature.
	RelayState string

	// Of a response.
	InResponseTo string
	Status       Status

	// Of a log-out request: NotOnOrAfter is zero where it names no end, and no
	// SessionIndexes means all sessions of the subject.
	NotOnOrAfter   time.Time
	Reason         Reason
	NameID         string
	SessionIndexes []string

	// SignOn is where the response to an AuthnRequest goes.
	SignOn string
	// Assertion is that of a sign-on response.
	Assertion *Assertion
}

// Assertion says that somebody has signed in at the provider. It has a bearer
// subject and an authentication statement (Profiles 4.1.4.2).
type Assertion struct {
	ID, Issuer, NameID, SessionIndex string
	IssueInstant                     time.Time
	Audience                         string
	// Recipient, NotOnOrAfter and InResponseTo are the bearer's confirmation.
	Recipient, InResponseTo string
	NotBefore, NotOnOrAfter time.Time
	AuthnInstant            time.Time
	// SessionNotOnOrAfter is when the provider's session ends; zero says nothing.
	SessionNotOnOrAfter time.Time
}

const instantForm = "2006-01-02T15:04:05.000Z"

func instant(t time.Time) string { return t.UTC().Format(instantForm) }

// element makes the message's XML, unsigned.
func (m *Message) element() *etree.Element {
	e := etree.NewElement("samlp:" + string(m.Kind))
	e.CreateAttr("xmlns:samlp", nsProtocol)
	e.CreateAttr("xmlns:saml", nsAssertion)
	e.CreateAttr("ID", m.ID)
	e.CreateAttr("Version", "2.0")
	e.CreateAttr("IssueInstant", instant(m.IssueInstant))
	optional(e, "Destination", m.Destination)
	optional(e, "InResponseTo", m.InResponseTo)
	if !m.NotOnOrAfter.IsZero() {
		e.CreateAttr("NotOnOrAfter", instant(m.NotOnOrAfter))
	}
	optional(e, "Reason", string(m.Reason))
	if m.Kind == AuthnRequest {
		e.CreateAttr("ProtocolBinding", string(Post))
		e.CreateAttr("AssertionConsumerServiceURL", m.SignOn)
	}
	e.CreateElement("saml:Issuer").SetText(m.Issuer)
	switch m.Kind {
	case LogoutRequest:
		e.CreateElement("saml:NameID").SetText(m.NameID)
		for _, index := range m.SessionIndexes {
			e.CreateElement("samlp:SessionIndex").SetText(index)
		}
	case LogoutResponse, SignOnResponse:
		m.Status.element(e.CreateElement("samlp:Status"))
		if m.Assertion != nil {
			e.AddChild(m.Assertion.element())
		}
	}
	return e
}

// optional sets an attribute unless it is empty.
func optional(e *etree.Element, name, value string) {
	if value != "" {
		e.CreateAttr(name, value)
	}
}

func (s Status) element(e *etree.Element) {
	top := e.CreateElement("samlp:StatusCode")
	switch s {
	case Success, Requester, Responder:
		top.CreateAttr("Value", string(s))
	default: // the others stand below one of these
		top.CreateAttr("Value", string(Responder))
		top.CreateElement("samlp:StatusCode").CreateAttr("Value", string(s))
	}
}

func (a *Assertion) element() *etree.Element {
	e := etree.NewElement("saml:Assertion")
	e.CreateAttr("ID", a.ID)
	e.CreateAttr("Version", "2.0")
	e.CreateAttr("IssueInstant", instant(a.IssueInstant))
	e.CreateElement("saml:Issuer").SetText(a.Issuer)
	subject := e.CreateElement("saml:Subject")
	subject.CreateElement("saml:NameID").SetText(a.NameID)
	confirmation := subject.CreateElement("saml:SubjectConfirmation")
	confirmation.CreateAttr("Method", bearer)
	data := confirmation.CreateElement("saml:SubjectConfirmationData")
	data.CreateAttr("Recipient", a.Recipient)
	data.CreateAttr("NotOnOrAfter", instant(a.NotOnOrAfter))
	optional(data, "InResponseTo", a.InResponseTo)
	conditions := e.CreateElement("saml:Conditions")
	conditions.CreateAttr("NotBefore", instant(a.NotBefore))
	conditions.CreateAttr("NotOnOrAfter", instant(a.NotOnOrAfter))
	conditions.CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText(a.Audience)
	statement := e.CreateElement("saml:AuthnStatement")
	statement.CreateAttr("AuthnInstant", instant(a.AuthnInstant))
	statement.CreateAttr("SessionIndex", a.SessionIndex)
	if !a.SessionNotOnOrAfter.IsZero() {
		statement.CreateAttr("SessionNotOnOrAfter", instant(a.SessionNotOnOrAfter))
	}
	class := statement.CreateElement("saml:AuthnContext").CreateElement("saml:AuthnContextClassRef")
	class.SetText("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")
	return e
}

const bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

// decode reads a message from an element that is already trusted.
func decode(e *etree.Element) (Message, error) {
	m := Message{
		Kind: Kind(e.Tag), ID: e.SelectAttrValue("ID", ""), Destination: e.SelectAttrValue("Destination", ""),
		InResponseTo: e.SelectAttrValue("InResponseTo", ""), Issuer: text(child(e, nsAssertion, "Issuer")),
	}
	if !is(e, nsProtocol, e.Tag) || e.SelectAttrValue("Version", "") != "2.0" || m.ID == "" || m.Issuer == "" {
		return m, fmt.Errorf("%w: want a SAML 2.0 message with ID and issuer", ErrMessage)
	}
	var err error
	if m.IssueInstant, err = readInstant(e, "IssueInstant"); err != nil || m.IssueInstant.IsZero() {
		return m, fmt.Errorf("%w: IssueInstant", ErrMessage)
	}
	switch m.Kind {
	case LogoutRequest:
		return m, m.decodeLogout(e)
	case LogoutResponse:
		m.Status = readStatus(e)
		return m, nil
	case AuthnRequest:
		m.SignOn = e.SelectAttrValue("AssertionConsumerServiceURL", "")
		return m, nil
	case SignOnResponse:
		if m.Status = readStatus(e); m.Status == Success {
			m.Assertion, err = decodeAssertion(child(e, nsAssertion, "Assertion"))
		}
		return m, err
	}
	return m, fmt.Errorf("%w: no message of this kind is expected", ErrMessage)
}

func (m *Message) decodeLogout(e *etree.Element) (err error) {
	m.Reason = Reason(e.SelectAttrValue("Reason", ""))
	if m.NotOnOrAfter, err = readInstant(e, "NotOnOrAfter"); err != nil {
		return err
	}
	if m.NameID = text(child(e, nsAssertion, "NameID")); m.NameID == "" {
		return fmt.Errorf("%w: a log-out request names its subject", ErrMessage)
	}
	for _, index := range children(e, nsProtocol, "SessionIndex") {
		// An unreadable index must not turn into none, which means all.
		if text(index) == "" {
			return fmt.Errorf("%w: a session index is empty", ErrMessage)
		}
		m.SessionIndexes = append(m.SessionIndexes, text(index))
	}
	return nil
}

func decodeAssertion(e *etree.Element) (*Assertion, error) {
	subject, conditions := child(e, nsAssertion, "Subject"), child(e, nsAssertion, "Conditions")
	statement := child(e, nsAssertion, "AuthnStatement")
	confirmation := child(subject, nsAssertion, "SubjectConfirmation")
	data := child(confirmation, nsAssertion, "SubjectConfirmationData")
	if conditions == nil || statement == nil || data == nil || confirmation.SelectAttrValue("Method", "") != bearer {
		return nil, fmt.Errorf("%w: want one bearer assertion with conditions and a statement of authentication", ErrMessage)
	}
	a := &Assertion{
		ID: e.SelectAttrValue("ID", ""), Issuer: text(child(e, nsAssertion, "Issuer")), NameID: text(child(subject, nsAssertion, "NameID")),
		Audience:  text(child(child(conditions, nsAssertion, "AudienceRestriction"), nsAssertion, "Audience")),
		Recipient: data.SelectAttrValue("Recipient", ""), InResponseTo: data.SelectAttrValue("InResponseTo", ""),
		SessionIndex: statement.SelectAttrValue("SessionIndex", ""),
	}
	var confirmed time.Time
	for _, f := range []struct {
		to   *time.Time
		of   *etree.Element
		name string
	}{
		{&a.IssueInstant, e, "IssueInstant"}, {&a.NotBefore, conditions, "NotBefore"}, {&a.NotOnOrAfter, conditions, "NotOnOrAfter"},
		{&confirmed, data, "NotOnOrAfter"}, {&a.AuthnInstant, statement, "AuthnInstant"}, {&a.SessionNotOnOrAfter, statement, "SessionNotOnOrAfter"},
	} {
		t, err := readInstant(f.of, f.name)
		if err != nil {
			return nil, err
		}
		*f.to = t
	}
	if a.ID == "" || a.NameID == "" || a.SessionIndex == "" || a.NotOnOrAfter.IsZero() || confirmed.IsZero() || a.AuthnInstant.IsZero() {
		return nil, fmt.Errorf("%w: the assertion lacks ID, subject, session index or a limit", ErrMessage)
	}
	if confirmed.Before(a.NotOnOrAfter) {
		a.NotOnOrAfter = confirmed
	}
	return a, nil
}

// readInstant reads an instant; zero where there is none. xs:dateTime of SAML
// is in UTC (Core 1.3.3).
func readInstant(e *etree.Element, name string) (time.Time, error) {
	value := e.SelectAttrValue(name, "")
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || !strings.HasSuffix(value, "Z") || t.Year() < 1970 {
		return time.Time{}, fmt.Errorf("%w: %s", ErrMessage, name)
	}
	return t, nil
}

// readStatus returns the second-level code where there is one.
func readStatus(e *etree.Element) Status {
	top := child(child(e, nsProtocol, "Status"), nsProtocol, "StatusCode")
	if top == nil {
		return Responder
	}
	if second := child(top, nsProtocol, "StatusCode"); second != nil {
		return Status(second.SelectAttrValue("Value", ""))
	}
	return Status(top.SelectAttrValue("Value", ""))
}

// Wire is a message as a binding carries it: to be delivered, or as it came.
type Wire struct {
	Binding Binding
	// URL is where it goes; in the redirect binding with its query.
	URL string
	// Query is the redirect binding's, as the octets came.
	Query string
	// Form are the POST binding's fields.
	Form url.Values
	// Body is the SOAP envelope.
	Body []byte
}

// Received makes a Wire of the parts of an HTTP request. GET is the redirect
// binding; a form is the POST binding and XML the SOAP binding.
func Received(method, query, contentType string, body []byte) (Wire, error) {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); {
	case method == "GET":
		return Wire{Binding: Redirect, Query: query}, nil
	case kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return Wire{}, fmt.Errorf("%w: form", ErrMessage)
		}
		return Wire{Binding: Post, Form: form}, nil
	case kind == "text/xml":
		return Wire{Binding: SOAP, Body: body}, nil
	}
	return Wire{}, fmt.Errorf("%w: no binding has %s with %q", ErrMessage, method, kind)
}

// Seal signs a message and puts it on the wire to its destination.
func Seal(m Message, b Binding, k Key) (Wire, error) {
	w := Wire{Binding: b, URL: m.Destination}
	e := m.element()
	param := "SAMLRequest"
	if m.Kind.isResponse() {
		param = "SAMLResponse"
	}
	if b == Redirect {
		raw, err := write(e)
		if err != nil {
			return w, err
		}
		if w.Query, err = signQuery(param, raw, m.RelayState, k); err != nil {
			return w, err
		}
		separator := "?"
		if strings.Contains(w.URL, "?") {
			separator = "&"
		}
		w.URL += separator + w.Query
		return w, nil
	}
	e, err := signed(e, k)
	if err != nil {
		return w, err
	}
	return pack(w, param, m.RelayState, e)
}

// pack puts a finished element on the wire of the POST or SOAP binding.
func pack(w Wire, param, relay string, e *etree.Element) (Wire, error) {
	if w.Binding == SOAP {
		envelope := etree.NewElement("soap:Envelope")
		envelope.CreateAttr("xmlns:soap", nsSOAP)
		envelope.CreateElement("soap:Body").AddChild(e)
		var err error
		w.Body, err = write(envelope)
		return w, err
	}
	raw, err := write(e)
	w.Form = url.Values{param: {base64.StdEncoding.EncodeToString(raw)}}
	if relay != "" {
		w.Form.Set("RelayState", relay)
	}
	return w, err
}

func write(e *etree.Element) ([]byte, error) {
	doc := etree.NewDocument()
	doc.WriteSettings.CanonicalText, doc.WriteSettings.CanonicalAttrVal = true, true
	doc.SetRoot(e)
	return doc.WriteToBytes()
}

// Open reads a message from the wire: the issuer is one that known returns,
// the signature is by the certificate of its metadata and covers the message,
// and what is returned is what it covers. Whether it is for here, in time and
// new is for the caller to judge.
func Open(w Wire, known func(entity string) (Peer, bool)) (Message, error) {
	raw, param, q, err := unpack(w)
	if err != nil {
		return Message{}, err
	}
	root, err := parse(raw)
	if err != nil {
		return Message{}, err
	}
	if w.Binding == SOAP {
		if root, err = unwrap(root); err != nil {
			return Message{}, err
		}
	}
	peer, ok := known(text(child(root, nsAssertion, "Issuer")))
	if !ok {
		return Message{}, ErrIssuer
	}
	if w.Binding == Redirect {
		if err := verifyQuery(q, peer.Certificate); err != nil {
			return Message{}, err
		}
	} else if root, err = verified(root, peer.Certificate); err != nil {
		return Message{}, err
	}
	m, err := decode(root)
	switch {
	case err != nil:
		return Message{}, err
	case m.Issuer != peer.Entity:
		return Message{}, ErrIssuer
	case param != "" && m.Kind.isResponse() != (param == "SAMLResponse"):
		return Message{}, fmt.Errorf("%w: a %s in %s", ErrMessage, m.Kind, param)
	}
	m.RelayState = q.relay
	if w.Binding == Post {
		m.RelayState = w.Form.Get("RelayState")
	}
	return m, nil
}

// Peek reads a message without asking who it is from or whether it is true.
func Peek(w Wire) (Message, error) {
	raw, _, q, err := unpack(w)
	if err != nil {
		return Message{}, err
	}
	root, err := parse(raw)
	if err == nil && w.Binding == SOAP {
		root, err = unwrap(root)
	}
	if err != nil {
		return Message{}, err
	}
	m, err := decode(root)
	m.RelayState = q.relay
	return m, err
}

// unpack takes the XML out of the binding.
func unpack(w Wire) (raw []byte, param string, q query, err error) {
	switch w.Binding {
	case Redirect:
		if q, err = splitQuery(w.Query); err == nil {
			raw, err = inflate(q.message)
		}
		return raw, q.param, q, err
	case Post:
		for _, name := range []string{"SAMLRequest", "SAMLResponse"} {
			if n := len(w.Form[name]); n > 1 || n == 1 && param != "" {
				return nil, "", q, fmt.Errorf("%w: want one SAMLRequest or SAMLResponse", ErrMessage)
			} else if n == 1 {
				param = name
			}
		}
		if raw, err = base64.StdEncoding.DecodeString(w.Form.Get(param)); err != nil || param == "" {
			return nil, "", q, fmt.Errorf("%w: base64", ErrMessage)
		}
		return raw, param, q, nil
	case SOAP:
		return w.Body, "", q, nil
	}
	return nil, "", q, fmt.Errorf("%w: no binding %q", ErrMessage, w.Binding)
}

// unwrap takes the message out of its envelope, as a document of its own.
func unwrap(envelope *etree.Element) (*etree.Element, error) {
	body := child(envelope, nsSOAP, "Body")
	if !is(envelope, nsSOAP, "Envelope") || body == nil || len(body.ChildElements()) != 1 {
		return nil, fmt.Errorf("%w: want an envelope with one message", ErrMessage)
	}
	e := body.ChildElements()[0]
	for _, outer := range []*etree.Element{body, envelope} { // namespaces declared outside
		for _, a := range outer.Attr {
			if a.Space == "xmlns" && !slices.ContainsFunc(e.Attr, func(own etree.Attr) bool { return own.Space == "xmlns" && own.Key == a.Key }) {
				e.CreateAttr("xmlns:"+a.Key, a.Value)
			}
		}
	}
	doc := etree.NewDocument()
	doc.SetRoot(e)
	return e, nil
}
