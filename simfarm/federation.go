package simfarm

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/oidc"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// federation is the circle of single sign-on around a farm: an identity
// provider and other participants, each a process with a host of its own.
// Every third participant is told of log-outs by OpenID Connect, the others by
// SAML; the first of three begins its own users' log-outs by redirect, the third
// by form, the second server to server.
type federation struct {
	f        *Farm
	provider *party
	sites    []*party
	farm     party // its process is none: the members answer
	stranger saml.Key
	// memory is the farm's. It lives as long as the farm does, whatever stops.
	memory  saml.Memory
	current atomic.Pointer[saml.Provider]

	mu      sync.Mutex
	journal []saml.Record
}

// party is one of the circle.
type party struct {
	name    string
	process *process
	key     saml.Key
	openID  bool
	front   saml.Binding
	// url is its address, and its entity ID. Set once it listens.
	url string
	// at are where its sign-on responses and log-out messages arrive.
	signOn []string
	logout string
}

const (
	providerProcess = "provider"
	// maxJournal bounds what the journal remembers.
	maxJournal = 4096
)

// newFederation makes the circle; nil without participants.
func newFederation(f *Farm) (*federation, error) {
	if f.o.Participants == 0 {
		return nil, nil
	}
	c := &federation{f: f, memory: saml.NewMemory(), provider: &party{name: providerProcess}, farm: party{name: farmspec.FarmParty}}
	c.provider.process = &process{name: providerProcess, fresh: c.freshProvider}
	for i := range f.o.Participants {
		p := &party{name: fmt.Sprintf("participant-%d", i+1), openID: i%3 == 2}
		p.front = []saml.Binding{saml.Redirect, "", saml.Post}[i%3]
		p.process = &process{name: p.name, fresh: func(alive func() bool) (http.Handler, error) { return c.freshSite(p, alive) }}
		c.sites = append(c.sites, p)
	}
	for _, p := range append([]*party{c.provider, &c.farm}, c.sites...) {
		var err error
		if p.key, err = saml.NewKey(p.name); err != nil {
			return nil, fmt.Errorf("open federation: %w", err)
		}
	}
	var err error
	c.stranger, err = saml.NewKey("nobody")
	return c, err
}

// processes are those of the circle beside the farm's.
func (c *federation) processes() []*process {
	if c == nil {
		return nil
	}
	all := []*process{c.provider.process}
	for _, p := range c.sites {
		all = append(all, p.process)
	}
	return all
}

// describe names the addresses, now that all ports are known.
func (c *federation) describe(members []web.Member) {
	if c == nil {
		return
	}
	for _, p := range append([]*party{c.provider}, c.sites...) {
		p.url = fmt.Sprintf("%s://%s.localhost:%s", c.f.scheme(), p.name, p.process.port())
		p.signOn, p.logout = []string{p.url + "/acs"}, p.url+"/slo"
	}
	c.provider.signOn = []string{c.provider.url + "/sso"}
	c.farm.url, c.farm.logout = members[0].URL, members[0].URL+web.SLOPath
	for _, m := range members {
		c.farm.signOn = append(c.farm.signOn, m.URL+web.ACSPath)
	}
	c.f.web.Federated = []string{c.provider.url}
}

// bindings has one address for all of SAML's bindings.
func bindings(address string) map[saml.Binding]string {
	return map[saml.Binding]string{saml.Redirect: address, saml.Post: address, saml.SOAP: address}
}

func (p *party) peer() saml.Peer {
	return saml.Peer{Entity: p.url, Certificate: p.key.Certificate, SignOn: p.signOn, Logout: bindings(p.logout)}
}

// party is what a party of the circle is made of, in one life of its process.
func (c *federation) party(p *party, rt http.RoundTripper) saml.Party {
	return saml.Party{
		Entity: p.url, Key: p.key, Logout: bindings(p.logout), Now: c.now, Rand: c.f.random(p.name), Transport: rt,
		Timeout: circleTimeout, Journal: c.record,
	}
}

// now is the farm's time: the circle has no clocks of its own to be wrong.
func (c *federation) now() time.Time { return c.f.clock.of(farmspec.ServiceProcess)() }

func (c *federation) record(r saml.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.journal) == maxJournal {
		c.journal = append(c.journal[:0], c.journal[maxJournal/2:]...)
	}
	c.journal = append(c.journal, r)
}

// receiver takes the provider's log-out tokens for a party.
func (c *federation) receiver(p *party, once saml.Memory) *oidc.Receiver {
	return &oidc.Receiver{
		Issuer: c.provider.url, Client: p.url, Key: c.provider.key.Signer.Public(), Once: once.Once, Now: c.now,
	}
}

// federate makes the farm's service take part.
func (c *federation) federate(local web.Service, tickets *web.Tickets, rt http.RoundTripper) (web.Service, web.Federation, error) {
	if c == nil {
		return local, nil, nil
	}
	o := web.FederatedOptions{
		Tickets:     tickets,
		Participant: saml.ParticipantOptions{Party: c.party(&c.farm, rt), Provider: c.provider.peer(), SignOn: c.farm.signOn},
	}
	o.Participant.Memory = c.memory
	o.Receiver = c.receiver(&c.farm, c.memory)
	o.FrontChannel = c.f.o.FrontChannel
	if c.f.o.Wrap.Federated != nil {
		c.f.o.Wrap.Federated(&o)
	}
	f, err := web.NewFederated(local, o)
	if err != nil {
		return nil, nil, err
	}
	if c.f.o.Wrap.Single != nil {
		s, single := c.f.o.Wrap.Single(local, f)
		return s, single, nil
	}
	return f, f, nil
}

func (c *federation) freshProvider(alive func() bool) (http.Handler, error) {
	rt := lifeline{c.f.transport, alive}
	tokens := &oidc.Provider{Issuer: c.provider.url, Key: c.provider.key.Signer.(*ecdsa.PrivateKey), Now: c.now, Transport: rt}
	o := saml.ProviderOptions{Party: c.party(c.provider, rt), SignOn: c.provider.signOn[0], Lifetime: c.f.o.SignOnLifetime}
	for _, p := range append([]*party{&c.farm}, c.sites...) {
		m := saml.Member{Peer: p.peer()}
		if p.openID {
			m.Notify = func(ctx context.Context, nameID string, indexes []string) error {
				var errs []error
				for _, index := range indexes {
					errs = append(errs, tokens.Notify(ctx, p.url+"/backchannel-logout", p.url, nameID, index))
				}
				return errors.Join(errs...)
			}
		}
		o.Members = append(o.Members, m)
	}
	if c.f.o.Wrap.Provider != nil {
		c.f.o.Wrap.Provider(&o)
	}
	p, err := saml.NewProvider(o)
	if err != nil {
		return nil, err
	}
	c.current.Store(p)
	return c.f.wrapped(providerProcess, newProviderSite(p, c.f.users, c.provider.url)), nil
}

func (c *federation) freshSite(p *party, alive func() bool) (http.Handler, error) {
	s := newParticipantSite(p.name, p.url, p.front)
	o := saml.ParticipantOptions{
		Party: c.party(p, lifeline{c.f.transport, alive}), Provider: c.provider.peer(), SignOn: p.signOn, End: s.end,
	}
	o.Memory = saml.NewMemory()
	s.receiver = c.receiver(p, o.Memory)
	if c.f.o.Wrap.Participant != nil {
		c.f.o.Wrap.Participant(p.name, &o)
	}
	var err error
	if s.p, err = saml.NewParticipant(o); err != nil {
		return nil, err
	}
	return c.f.wrapped(p.name, s), nil
}

// Circle describes the farm's federation; false where it has none.
func (f *Farm) Circle() (farmspec.Circle, bool) {
	if f.circle == nil {
		return farmspec.Circle{}, false
	}
	return f.circle.Circle(), true
}

// Circle implements farmspec.FederationHook, as the others do.
func (c *federation) Circle() farmspec.Circle {
	circle := farmspec.Circle{
		Provider: c.provider.site(), SignOn: web.SSOPath, Everywhere: web.SignedOutEverywhere, Partial: web.SignedOutPartly,
		Login:    farmspec.LoginRecipe{UserField: web.UserField, PassField: web.PasswordField},
		Lifetime: c.f.o.SignOnLifetime, Silent: true,
	}
	for _, p := range c.sites {
		circle.Participants = append(circle.Participants, p.site())
	}
	return circle
}

func (p *party) site() farmspec.Site {
	return farmspec.Site{
		Name: p.name, URL: p.url, Logout: farmspec.LogoutRecipe{Path: "/logout"},
		Page: farmspec.Page{Kind: farmspec.HTML, Path: "/", Marker: siteMarker(p.name), Echo: true},
	}
}

// resolve adds the circle's host names.
func (c *federation) resolve(names map[string]string) {
	if c == nil {
		return
	}
	for _, p := range append([]*party{c.provider}, c.sites...) {
		names[hostOf(p.url)] = c.f.reachedAt()
	}
}

func (c *federation) find(name string) (*party, error) {
	all := append([]*party{c.provider, &c.farm}, c.sites...)
	i := slices.IndexFunc(all, func(p *party) bool { return p.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no party %q in the federation", name)
	}
	return all[i], nil
}

func (c *federation) nameOf(entity string) string {
	for _, p := range append([]*party{c.provider, &c.farm}, c.sites...) {
		if p.url == entity {
			return p.name
		}
	}
	return "somebody else"
}

func (c *federation) SessionIndexes(_ context.Context, name, user string) ([]string, error) {
	p, err := c.find(name)
	if err != nil {
		return nil, fmt.Errorf("list session indexes: %w", err)
	}
	return c.current.Load().SessionIndexes(p.url, user), nil
}

var channels = map[saml.Binding]farmspec.Channel{
	saml.Redirect: farmspec.RedirectChannel, saml.Post: farmspec.PostChannel, saml.SOAP: farmspec.SOAPChannel, "": farmspec.OpenIDChannel,
}

func (c *federation) LogoutMessages(_ context.Context, user string) ([]farmspec.LogoutMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []farmspec.LogoutMessage
	at := make(map[string]int) // message ID to its place in all
	for _, r := range c.journal {
		m := r.Message
		if m.Kind == saml.LogoutRequest && m.NameID != user {
			continue
		}
		if _, ours := at[m.InResponseTo]; m.Kind == saml.LogoutResponse && !ours {
			continue
		}
		// A partial answer has been delivered all the same.
		delivered := r.Err == nil || errors.Is(r.Err, saml.ErrPartial)
		i, told := at[m.ID]
		if told && m.ID != "" { // by who sent it and by who received it
			all[i].Delivered = all[i].Delivered || delivered
			continue
		}
		at[m.ID] = len(all)
		all = append(all, farmspec.LogoutMessage{
			At: r.At, From: c.nameOf(r.From), To: c.nameOf(r.To), Channel: channels[r.Binding],
			Answer: m.Kind == saml.LogoutResponse, Admin: m.Reason == saml.ByAdmin,
			Status: string(m.Status[strings.LastIndex(string(m.Status), ":")+1:]), Delivered: delivered,
		})
	}
	return all, nil
}

// listenAt takes the circle's ports.
func (c *federation) listenAt(take func(p *process, host string) error) error {
	for _, p := range c.processes() {
		if err := take(p, c.f.o.Address); err != nil {
			return err
		}
	}
	return nil
}

// circleTimeout bounds a message between parties: who is down refuses at once,
// and who hangs must not hold a log-out for long.
const circleTimeout = 2 * time.Second

var _ farmspec.FederationHook = (*federation)(nil)
