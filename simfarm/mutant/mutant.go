// Package mutant holds the named faults of the catalogue, each a reference
// farm with one part broken. A judge is worth what it convicts: every fault
// names the requirement it violates and the scenario that must convict it.
//
// A fault wraps a part of the farm through simfarm.Wrap; the reference itself
// has no fault flags.
package mutant

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Fault is a farm broken in one way.
type Fault struct {
	// ID is stable: F12 as in the catalogue of faults.
	ID, Name string
	// Violates are requirement IDs.
	Violates []string
	// Convicts are the IDs of the scenarios that must convict it, the one
	// named for it first.
	Convicts []string
	// Level is the lowest level of observation at which it is convicted.
	Level farmspec.Level
	// Precedent names where it happened in the world, if it is known.
	Precedent string
	// Profile is the farm it is planted in; the zero value is the default one.
	Profile simfarm.Options
	// Plant returns the broken part, with state of its own at each call: one
	// for each farm.
	Plant func() simfarm.Wrap
}

// Farm is the profile with the fault planted.
func (f Fault) Farm() simfarm.Options {
	o := f.Profile
	o.Plant = f.Plant
	o.Version = "with fault " + f.ID
	return o
}

var faults []Fault

func register(fs ...Fault) { faults = append(faults, fs...) }

// All returns every fault by ID.
func All() []Fault {
	all := slices.Clone(faults)
	slices.SortFunc(all, func(a, b Fault) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Find returns the fault of that ID.
func Find(id string) (Fault, error) {
	var known []string
	for _, f := range faults {
		if f.ID == id {
			return f, nil
		}
		known = append(known, f.ID)
	}
	return Fault{}, fmt.Errorf("no fault %q (did you mean %s?)", id, farmspec.Suggest(id, known))
}

// Both plants two faults in one farm, the second around the first.
func Both(a, b simfarm.Wrap) simfarm.Wrap {
	single := a.Single
	if b.Single != nil {
		single = b.Single // there is one place for it
	}
	return simfarm.Wrap{
		Service: func(o *reference.Options) {
			if a.Service != nil {
				a.Service(o)
			}
			if b.Service != nil {
				b.Service(o)
			}
		},
		API: func(s web.Service) web.Service {
			if a.API != nil {
				s = a.API(s)
			}
			if b.API != nil {
				s = b.API(s)
			}
			return s
		},
		Member: func(c *web.ServerConfig) {
			if a.Member != nil {
				a.Member(c)
			}
			if b.Member != nil {
				b.Member(c)
			}
		},
		Handler: func(process string, h http.Handler) http.Handler {
			if a.Handler != nil {
				h = a.Handler(process, h)
			}
			if b.Handler != nil {
				h = b.Handler(process, h)
			}
			return h
		},
		Federated: func(o *web.FederatedOptions) {
			if a.Federated != nil {
				a.Federated(o)
			}
			if b.Federated != nil {
				b.Federated(o)
			}
		},
		Single: single,
		Participant: func(name string, o *saml.ParticipantOptions) {
			if a.Participant != nil {
				a.Participant(name, o)
			}
			if b.Participant != nil {
				b.Participant(name, o)
			}
		},
		Provider: func(o *saml.ProviderOptions) {
			if a.Provider != nil {
				a.Provider(o)
			}
			if b.Provider != nil {
				b.Provider(o)
			}
		},
	}
}

// Convicted reports whether a verdict convicts a fault: a broken MUST, or a
// broken SHOULD where the scenario tests nothing stronger. A sound farm gets
// neither.
func Convicted(v farmspec.Verdict) bool { return v == farmspec.Fail || v == farmspec.Warn }
