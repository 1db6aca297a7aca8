// Package variant opens farms that are correct and different: other answers
// to who has no session, other cookies, another log-in, another transport,
// other limits. A judge that accuses one of them has taken a habit of the
// reference for a rule.
//
// Each is the reference with its edges changed: by an option, by what stands
// between a member and its browser, or by a server in front of them all.
package variant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

// Variant is a correct farm that differs from the reference in one way.
type Variant struct {
	// ID is stable, lower case and hyphenated.
	ID string
	// Name says in a line what the farm does.
	Name string
	// Differs says what a judge may be tempted to rely upon, and why the farm
	// is correct without it.
	Differs string
	// Options make the farm and each of its forks. State that a Plant keeps
	// belongs to one farm.
	Options simfarm.Options
	// Target, unless nil, corrects the farm's description. It is called for
	// each fork as well.
	Target func(*farmspec.Target)
	// Front, unless nil, starts what stands in front of the farm and corrects
	// the description, for each fork as well. The function it returns stops it.
	Front func(context.Context, *farmspec.Target) (func() error, error)
	// Inconclusive are the scenarios that may prove nothing on this farm, with
	// the reason. Nobody else's may.
	Inconclusive map[string]string
}

var variants []Variant

func register(vs ...Variant) { variants = append(variants, vs...) }

// All returns every variant by ID.
func All() []Variant {
	all := slices.Clone(variants)
	slices.SortFunc(all, func(a, b Variant) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

// Find returns the variant of that ID.
func Find(id string) (Variant, error) {
	var known []string
	for _, v := range variants {
		if v.ID == id {
			return v, nil
		}
		known = append(known, v.ID)
	}
	return Variant{}, fmt.Errorf("no variant %q (did you mean %s?)", id, farmspec.Suggest(id, known))
}

// Open starts the variant's farm and describes it. The context bounds the
// opening only; the returned function stops the farm.
func Open(ctx context.Context, v Variant) (*farmspec.Target, func() error, error) {
	o := v.Options
	o.Version = "variant " + v.ID
	farm, err := simfarm.Open(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("open variant %s: %w", v.ID, err)
	}
	return v.describe(ctx, farm.Target(), farm.Close)
}

// describe corrects a farm's description and that of its forks to come.
func (v Variant) describe(ctx context.Context, t *farmspec.Target, stop func() error) (*farmspec.Target, func() error, error) {
	t.Name = "variant/" + v.ID
	if v.Target != nil {
		v.Target(t)
	}
	fork := t.Hooks.Fork
	t.Hooks.Fork = func(ctx context.Context, change farmspec.Variation) (*farmspec.Target, func() error, error) {
		t, stop, err := fork(ctx, change)
		if err != nil {
			return nil, nil, err
		}
		return v.describe(ctx, t, stop)
	}
	if v.Front == nil {
		return t, stop, nil
	}
	stopFront, err := v.Front(ctx, t)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open variant %s: %w", v.ID, err), stop())
	}
	return t, func() error { return errors.Join(stopFront(), stop()) }, nil
}
