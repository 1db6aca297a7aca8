package mutant

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/oidc"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Faults of single log-out: of what the farm tells, of what it believes, and of
// the provider that tells the others.

// circled is the farm in which these faults are planted.
var circled = simfarm.Options{Participants: 3}

func init() {
	register(inCircle(
		Fault{
			ID: "F52", Name: "single log-out stops at the first participant that fails",
			Violates: []string{"AJ-6.2", "SAML-PROFILES-PARTIAL"}, Convicts: []string{"slo.participant-down", "slo.participant-down-administrator"},
			Plant: provider(func(o *saml.ProviderOptions) {
				o.Each = func(n int, notify func(int) error) []error {
					errs := make([]error, n)
					for i := range n {
						// The participants come after the farm, in the order of joining.
						if errs[i] = notify(i); errs[i] != nil {
							break
						}
					}
					return errs
				}
			}),
		},
		Fault{
			ID: "F53", Name: "an unsigned log-out request is obeyed",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.forged-request"},
			Precedent: "gosaml2 GHSA-pcgw-qcv5-h8ch",
			Plant:     farmReads(despite(saml.ErrUnsigned)),
		},
		Fault{
			ID: "M700", Name: "a user's log-out ends here and is told to nobody",
			Violates: []string{"AJ-6.2", "SAML-PROFILES-INITIATORS"}, Convicts: []string{"slo.user"},
			Plant: single(func(local web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, signOut: func(ctx context.Context, r reference.Presented) (web.Farewell, error) {
					return web.Farewell{Everywhere: true}, local.Logout(ctx, r)
				}}
			}),
		},
		Fault{
			ID: "M701", Name: "an administrator's log-out ends here and is told to nobody",
			Violates: []string{"AJ-6.3"}, Convicts: []string{"slo.administrator"},
			Plant: single(func(local web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, terminate: local.Terminate}
			}),
		},
		Fault{
			ID: "M702", Name: "an administrator's log-out is told as the user's own",
			Violates: []string{"AJ-6.3"}, Convicts: []string{"slo.administrator"},
			Plant: single(func(local web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, terminate: func(ctx context.Context, sel reference.Selection) (int, error) {
					all, err := local.List(ctx, sel.User)
					if err != nil {
						return 0, err
					}
					n, err := local.Terminate(ctx, sel)
					for i := range all {
						_ = f.Participant().SignOut(ctx, all[i].Ref.String(), saml.ByUser)
					}
					return n, err
				}}
			}),
		},
		Fault{
			ID: "M703", Name: "the session ends here only once the provider has answered",
			Violates: []string{"AJ-6.1", "AJ-6.2"}, Convicts: []string{"slo.provider-down"},
			Plant: single(func(local web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, signOut: func(ctx context.Context, r reference.Presented) (web.Farewell, error) {
					g, err := local.Verify(ctx, r)
					if err != nil {
						return web.Farewell{}, err
					}
					switch err := f.Participant().SignOut(ctx, g.Session.String(), saml.ByUser); {
					case err == nil || errors.Is(err, saml.ErrUnknownSession):
						return web.Farewell{Everywhere: err == nil}, local.Logout(ctx, r)
					}
					return web.Farewell{Partial: true}, nil
				}}
			}),
		},
		Fault{
			ID: "M704", Name: "a partial log-out is shown to the user as a whole one",
			Violates: []string{"AJ-6.2", "SAML-PROFILES-PARTIAL"}, Convicts: []string{"slo.participant-down"},
			Plant: single(func(_ web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, signOut: func(ctx context.Context, r reference.Presented) (web.Farewell, error) {
					bye, err := f.SignOut(ctx, r)
					if bye.Partial {
						bye = web.Farewell{Everywhere: true}
					}
					return bye, err
				}}
			}),
		},
		Fault{
			ID: "M705", Name: "the provider answers success whoever has failed",
			Violates: []string{"SAML-PROFILES-PARTIAL"}, Convicts: []string{"slo.participant-down", "slo.participant-down-administrator"},
			Plant: provider(func(o *saml.ProviderOptions) {
				o.Each = func(n int, notify func(int) error) []error {
					for i := range n {
						_ = notify(i)
					}
					return nil
				}
			}),
		},
		Fault{
			ID: "M706", Name: "the browser is led to the provider without the request",
			Violates: []string{"SAML-PROFILES-CHANNELS"}, Convicts: []string{"slo.front-channel"},
			Plant: single(func(_ web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, signOut: func(ctx context.Context, r reference.Presented) (web.Farewell, error) {
					bye, err := f.SignOut(ctx, r)
					bye.Location, _, _ = strings.Cut(bye.Location, "?")
					return bye, err
				}}
			}),
		},
		Fault{
			ID: "M707", Name: "a request that a browser brings is answered and not obeyed",
			Violates: []string{"SAML-PROFILES-CHANNELS"}, Convicts: []string{"slo.channels"},
			Plant: single(func(_ web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, deliver: func(ctx context.Context, d web.Delivery) (web.Answer, error) {
					if strings.HasPrefix(d.Query, "SAMLRequest=") || strings.HasPrefix(string(d.Body), "SAMLRequest=") {
						return web.Answer{Farewell: web.Farewell{Everywhere: true}}, nil
					}
					return f.Deliver(ctx, d)
				}}
			}),
		},
		Fault{
			ID: "M708", Name: "a log-out that names no session ends the first one found",
			Violates: []string{"SAML-CORE-ALL-SESSIONS", "OIDC-BCL-SUBJECT"}, Convicts: []string{"slo.all-sessions", "slo.token-subject"},
			Plant: farmRemembers(func(m saml.Memory) saml.Memory { return memoryWith{Memory: m, few: true} }),
		},
		Fault{
			ID: "M709", Name: "a request that names one session ends all of the subject's",
			Violates: []string{"SAML-CORE-ALL-SESSIONS"}, Convicts: []string{"slo.one-session"},
			Plant: farmReads(reading(func(m *saml.Message, _ saml.Party) { m.SessionIndexes = nil })),
		},
		Fault{
			ID: "M710", Name: "an assertion that arrives after its log-out is believed",
			Violates: []string{"SAML-CORE-LATER-ASSERTIONS"}, Convicts: []string{"slo.later-assertion"},
			Plant: farmRemembers(func(m saml.Memory) saml.Memory { return memoryWith{Memory: m, noEnds: true} }),
		},
		Fault{
			ID: "M711", Name: "a request signed with any key is obeyed",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.forged-request"},
			Plant: farmReads(despite(saml.ErrSignature)),
		},
		Fault{
			ID: "M712", Name: "the signature is of one element, and another is obeyed",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.forged-request"},
			Precedent: "signature wrapping, as in ruby-saml CVE-2024-45409",
			Plant:     farmReads(unwrapping),
		},
		Fault{
			ID: "M713", Name: "a request is obeyed however old it is",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.stray-request"},
			Plant: farmReads(reading(func(m *saml.Message, p saml.Party) {
				if m.Kind == saml.LogoutRequest {
					m.IssueInstant, m.NotOnOrAfter = p.Now(), time.Time{}
				}
			})),
		},
		Fault{
			ID: "M714", Name: "a request made for another party is obeyed",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.stray-request"},
			Plant: farmReads(reading(func(m *saml.Message, p saml.Party) {
				if m.Kind == saml.LogoutRequest {
					m.Destination = p.Logout[saml.SOAP]
				}
			})),
		},
		Fault{
			ID: "M715", Name: "a request is obeyed as often as it arrives",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.replayed-request"},
			Plant: farmRemembers(func(m saml.Memory) saml.Memory { return memoryWith{Memory: m, noOnce: true} }),
		},
		Fault{
			ID: "M716", Name: "the provider ends its own session and tells nobody",
			Violates: []string{"SAML-PROFILES-INITIATORS"}, Convicts: []string{"slo.begun-elsewhere"},
			Plant: provider(func(o *saml.ProviderOptions) {
				o.Each = func(int, func(int) error) []error { return nil }
			}),
		},
		Fault{
			ID: "M717", Name: "the farm is forgotten when a log-out is begun elsewhere",
			Violates: []string{"SAML-PROFILES-INITIATORS"}, Convicts: []string{"slo.begun-elsewhere"},
			Plant: provider(func(o *saml.ProviderOptions) {
				o.Members[0].Notify = func(context.Context, string, []string) error { return nil } // the farm is the first
			}),
		},
		Fault{
			ID: "M718", Name: "the provider obeys an unsigned log-out request",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.forged-elsewhere"},
			Plant: provider(func(o *saml.ProviderOptions) { o.Open = despite(saml.ErrUnsigned)(o.Party) }),
		},
		Fault{
			ID: "M719", Name: "another participant obeys an unsigned log-out request",
			Violates: []string{"SAML-CORE-AUTHENTICATE"}, Convicts: []string{"slo.forged-elsewhere"},
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{Participant: func(_ string, o *saml.ParticipantOptions) {
					o.Open = despite(saml.ErrUnsigned)(o.Party)
				}}
			},
		},
		Fault{
			ID: "M720", Name: "a log-out token's signature is not verified",
			Violates: []string{"OIDC-BCL-CLAIMS"}, Convicts: []string{"slo.token-forged"},
			Plant: farmReceives(func(r *oidc.Receiver) {
				r.Read = func(token string, _ crypto.PublicKey) (oidc.Claims, error) { return unverified(token) }
			}),
		},
		token("M721", "a log-out token for another client is obeyed", "OIDC-BCL-CLAIMS", "slo.token-forged",
			func(c *oidc.Claims, r *oidc.Receiver) { c.Audience = oidc.Audience{r.Client} }),
		token("M722", "a log-out token of another issuer is obeyed", "OIDC-BCL-CLAIMS", "slo.token-forged",
			func(c *oidc.Claims, r *oidc.Receiver) { c.Issuer = r.Issuer }),
		token("M723", "a log-out token is obeyed however old it is", "OIDC-BCL-CLAIMS", "slo.token-forged",
			func(c *oidc.Claims, r *oidc.Receiver) {
				c.IssuedAt, c.Expiry = r.Now().Unix(), r.Now().Add(oidc.Life).Unix()
			}),
		token("M724", "any token of the provider's passes for a log-out token, whatever its type", "ASVS-10.5.5", "slo.token-type",
			func(c *oidc.Claims, _ *oidc.Receiver) { c.Type = oidc.Type }),
		token("M725", "a token without the event passes for a log-out token", "ASVS-10.5.5", "slo.token-type",
			func(c *oidc.Claims, _ *oidc.Receiver) {
				c.Events = map[string]json.RawMessage{oidc.Event: json.RawMessage("{}")}
			}),
		token("M726", "a token with a nonce passes for a log-out token", "OIDC-BCL-NO-NONCE", "slo.token-nonce",
			func(c *oidc.Claims, _ *oidc.Receiver) { c.Nonce = nil }),
		token("M727", "a log-out token that names nobody is answered as a success", "OIDC-BCL-SUBJECT", "slo.token-nobody",
			func(c *oidc.Claims, _ *oidc.Receiver) {
				if c.Subject == "" && c.Session == "" {
					c.Session = "none"
				}
			}),
		Fault{
			ID: "M728", Name: "a log-out token that names a session ends all of the subject's",
			Violates: []string{"OIDC-BCL-SUBJECT"}, Convicts: []string{"slo.token-session"},
			Plant: farmReceives(readingToken(func(c *oidc.Claims, _ *oidc.Receiver) {
				if c.Subject != "" {
					c.Session = ""
				}
			})),
		},
		Fault{
			ID: "M729", Name: "a log-out token is obeyed as often as it arrives",
			Violates: []string{"OIDC-BCL-REPLAY"}, Convicts: []string{"slo.token-replayed"},
			Plant: farmReceives(func(r *oidc.Receiver) {
				r.Once = func(string, time.Time, time.Time) bool { return true }
			}),
		},
		Fault{
			ID: "M730", Name: "a log-out token that is refused is answered as a success",
			Violates: []string{"OIDC-BCL-FAILURE"}, Convicts: []string{"slo.token-failure"},
			Plant: single(func(_ web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, deliver: func(ctx context.Context, d web.Delivery) (web.Answer, error) {
					a, err := f.Deliver(ctx, d)
					if d.Path == web.BackchannelPath {
						a.Status = http.StatusOK
					}
					return a, err
				}}
			}),
		},
		Fault{
			ID: "M731", Name: "answers to log-out tokens may be cached",
			Violates: []string{"OIDC-BCL-NO-STORE"}, Convicts: []string{"slo.token-no-store"},
			Plant: pages(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, web.BackchannelPath) {
						w = cacheable{w}
					}
					h.ServeHTTP(w, r)
				})
			}),
		},
		Fault{
			ID: "M740", Name: "a session of the farm outlives the provider's from which it came",
			Violates: []string{"ASVS-7.6.1", "ASVS-7.1.3"}, Convicts: []string{"slo.provider-over"},
			Plant: farmRemembers(func(m saml.Memory) saml.Memory { return memoryWith{Memory: m, noLimits: true} }),
		},
		Fault{
			ID: "M741", Name: "the provider's sessions last longer than it is documented",
			Violates: []string{"ASVS-7.1.3"}, Convicts: []string{"slo.provider-over"},
			Plant: provider(func(o *saml.ProviderOptions) { o.Lifetime *= 2 }),
		},
		Fault{
			ID: "M742", Name: "the provider's sessions are over sooner than it is documented",
			Violates: []string{"ASVS-7.6.1", "ASVS-7.1.3"}, Convicts: []string{"slo.provider-over", "slo.comes-back"},
			Plant: provider(func(o *saml.ProviderOptions) { o.Lifetime = defaultIdle * 2 / 3 }),
		},
		Fault{
			ID: "M744", Name: "the sessions that a request from server to server names are not found",
			Violates: []string{"SAML-PROFILES-CHANNELS"}, Convicts: []string{"slo.channels"},
			Plant: farmReads(func(saml.Party) func(saml.Wire, func(string) (saml.Peer, bool)) (saml.Message, error) {
				return func(w saml.Wire, known func(string) (saml.Peer, bool)) (saml.Message, error) {
					m, err := saml.Open(w, known)
					if w.Binding == saml.SOAP {
						for i := range m.SessionIndexes {
							m.SessionIndexes[i] += "-1" // as another program numbers them
						}
					}
					return m, err
				}
			}),
		},
		Fault{
			ID: "M745", Name: "a log-out token that names a session and no subject ends nothing",
			Violates: []string{"OIDC-BCL-SUBJECT"}, Convicts: []string{"slo.token-session"},
			Plant: farmReceives(readingToken(func(c *oidc.Claims, _ *oidc.Receiver) {
				if c.Subject == "" {
					c.Session = "none"
				}
			})),
		},
		Fault{
			ID: "M743", Name: "the log-out of a local session ends those of single sign-on too",
			Violates: []string{"AJ-6.2"}, Convicts: []string{"slo.local-log-in"},
			Plant: single(func(local web.Service, f *web.Federated) federationWith {
				return federationWith{Federated: f, signOut: func(ctx context.Context, r reference.Presented) (web.Farewell, error) {
					g, err := local.Verify(ctx, r)
					if err != nil {
						return web.Farewell{}, err
					}
					all, err := local.List(ctx, g.User)
					for i := range all {
						_ = f.Participant().SignOut(ctx, all[i].Ref.String(), saml.ByUser)
					}
					if err == nil {
						err = local.Logout(ctx, r)
					}
					return web.Farewell{Everywhere: true}, err
				}}
			}),
		},
	)...)
}

// inCircle says where these faults are planted, and that it takes more than a
// browser to see them.
func inCircle(faults ...Fault) []Fault {
	for i := range faults {
		faults[i].Level, faults[i].Profile = farmspec.Grey, circled
	}
	return faults
}

// federationWith is the farm's part in single log-out with some of its methods
// replaced.
type federationWith struct {
	*web.Federated
	signOut   func(context.Context, reference.Presented) (web.Farewell, error)
	deliver   func(context.Context, web.Delivery) (web.Answer, error)
	terminate func(context.Context, reference.Selection) (int, error)
}

func (f federationWith) SignOut(ctx context.Context, r reference.Presented) (web.Farewell, error) {
	if f.signOut != nil {
		return f.signOut(ctx, r)
	}
	return f.Federated.SignOut(ctx, r)
}

func (f federationWith) Deliver(ctx context.Context, d web.Delivery) (web.Answer, error) {
	if f.deliver != nil {
		return f.deliver(ctx, d)
	}
	return f.Federated.Deliver(ctx, d)
}

func (f federationWith) Terminate(ctx context.Context, sel reference.Selection) (int, error) {
	if f.terminate != nil {
		return f.terminate(ctx, sel)
	}
	return f.Federated.Terminate(ctx, sel)
}

func single(change func(web.Service, *web.Federated) federationWith) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		return simfarm.Wrap{Single: func(local web.Service, f *web.Federated) (web.Service, web.Federation) {
			changed := change(local, f)
			return changed, changed
		}}
	}
}

func provider(change func(*saml.ProviderOptions)) func() simfarm.Wrap {
	return func() simfarm.Wrap { return simfarm.Wrap{Provider: change} }
}

func federated(change func(*web.FederatedOptions)) func() simfarm.Wrap {
	return func() simfarm.Wrap { return simfarm.Wrap{Federated: change} }
}

// reader makes how a party reads what arrives.
type reader func(saml.Party) func(saml.Wire, func(string) (saml.Peer, bool)) (saml.Message, error)

func farmReads(r reader) func() simfarm.Wrap {
	return federated(func(o *web.FederatedOptions) { o.Participant.Open = r(o.Participant.Party) })
}

// reading changes messages that have been verified.
func reading(change func(*saml.Message, saml.Party)) reader {
	return func(p saml.Party) func(saml.Wire, func(string) (saml.Peer, bool)) (saml.Message, error) {
		return func(w saml.Wire, known func(string) (saml.Peer, bool)) (saml.Message, error) {
			m, err := saml.Open(w, known)
			if err == nil {
				change(&m, p)
			}
			return m, err
		}
	}
}

// despite takes a message at its word where verifying it ends with that error.
func despite(what error) reader {
	return func(saml.Party) func(saml.Wire, func(string) (saml.Peer, bool)) (saml.Message, error) {
		return func(w saml.Wire, known func(string) (saml.Peer, bool)) (saml.Message, error) {
			m, err := saml.Open(w, known)
			if errors.Is(err, what) {
				return saml.Peek(w)
			}
			return m, err
		}
	}
}

// unwrapping verifies whichever element the signature refers to, wherever it
// is, and then reads the outermost.
func unwrapping(saml.Party) func(saml.Wire, func(string) (saml.Peer, bool)) (saml.Message, error) {
	return func(w saml.Wire, known func(string) (saml.Peer, bool)) (saml.Message, error) {
		m, err := saml.Open(w, known)
		if err == nil || w.Binding != saml.SOAP {
			return m, err
		}
		doc := etree.NewDocument()
		if doc.ReadFromBytes(w.Body) != nil {
			return m, err
		}
		signature, reference := doc.FindElement("//Signature"), doc.FindElement("//Reference")
		if signature == nil || reference == nil {
			return m, err
		}
		signed := doc.FindElement("//[@ID='" + strings.TrimPrefix(reference.SelectAttrValue("URI", ""), "#") + "']")
		body := doc.FindElement("/Envelope/Body")
		if signed == nil || body == nil {
			return m, err
		}
		signed = signed.Copy()
		signed.InsertChildAt(1, signature.Copy())
		for _, child := range body.ChildElements() {
			body.RemoveChild(child)
		}
		body.AddChild(signed)
		inner, werr := doc.WriteToBytes()
		if werr != nil {
			return m, err
		}
		if _, ierr := saml.Open(saml.Wire{Binding: saml.SOAP, Body: inner}, known); ierr != nil {
			return m, err
		}
		return saml.Peek(w)
	}
}

func farmRemembers(wrap func(saml.Memory) saml.Memory) func() simfarm.Wrap {
	return federated(func(o *web.FederatedOptions) { o.Participant.Memory = wrap(o.Participant.Memory) })
}

// memoryWith forgets something.
type memoryWith struct {
	saml.Memory
	few, noEnds, noOnce, noLimits bool
}

func (m memoryWith) Links(e saml.Ended) []saml.Link {
	all := m.Memory.Links(e)
	if m.few && len(all) > 1 {
		all = all[:1]
	}
	return all
}

func (m memoryWith) End(e saml.Ended, now time.Time) {
	if !m.noEnds {
		m.Memory.End(e, now)
	}
}

func (m memoryWith) Once(id string, now, until time.Time) bool {
	return m.Memory.Once(id, now, until) || m.noOnce
}

func (m memoryWith) Linked(ref string) (saml.Link, bool) {
	l, ok := m.Memory.Linked(ref)
	if m.noLimits {
		l.Until = time.Time{}
	}
	return l, ok
}

func farmReceives(change func(*oidc.Receiver)) func() simfarm.Wrap {
	return federated(func(o *web.FederatedOptions) { change(o.Receiver) })
}

// readingToken changes claims that have been verified.
func readingToken(change func(*oidc.Claims, *oidc.Receiver)) func(*oidc.Receiver) {
	return func(r *oidc.Receiver) {
		r.Read = func(token string, key crypto.PublicKey) (oidc.Claims, error) {
			c, err := oidc.Read(token, key)
			if err == nil {
				change(&c, r)
			}
			return c, err
		}
	}
}

// token is a fault of a check that a log-out token's claims are spared.
func token(id, name, violates, convicts string, change func(*oidc.Claims, *oidc.Receiver)) Fault {
	return Fault{
		ID: id, Name: name, Violates: []string{violates}, Convicts: []string{convicts},
		Plant: farmReceives(readingToken(change)),
	}
}

// unverified reads a token's claims without asking for the signature.
func unverified(token string) (c oidc.Claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, oidc.ErrToken
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	c.Type = oidc.Type
	return c, err
}

// cacheable lets an answer be kept.
type cacheable struct{ http.ResponseWriter }

func (c cacheable) WriteHeader(status int) {
	c.Header().Set("Cache-Control", "max-age=60")
	c.ResponseWriter.WriteHeader(status)
}
