package features

import (
	"context"
	"fmt"
	"slices"

	"github.com/farmspec/farmspec"
)

// The steps that look inside the farm through its trace: who did what, and in
// which order, during the last attempt.

func (w *world) registerInside(s stepper) {
	s.step(`inside the farm (server \d+|the service) did "([\w-]+)"`, w.partDid)
	s.step(`inside the farm (server \d+|the service) did "([\w-]+)" at the database`, w.partDidAtDatabase)
	s.step(`inside the farm (server \d+|the service) did "([\w-]+)" before it answered`, w.partDidBeforeAnswer)
	s.step(`inside the farm (server \d+|the service) did not do "([\w-]+)"`, w.partDidNot)
	s.step(`inside the farm no server spoke to the database`, w.noServerSpokeToDatabase)
}

// part is the name a trace gives to what a step calls "server 2" or "the service".
func (w *world) part(words string) (string, error) {
	switch words {
	case "the service", "the session service":
		return farmspec.ServiceProcess, nil
	case "the database":
		return farmspec.DatabaseProcess, nil
	}
	var n int
	if _, err := fmt.Sscanf(words, "server %d", &n); err != nil {
		return "", err
	}
	m, err := w.member(n)
	return m.Name, err
}

// inside are the messages that the last attempt caused inside the farm.
func (w *world) inside(ctx context.Context) ([]farmspec.Message, error) {
	a := w.acts.attempt
	if a == nil || a.visit == nil || len(a.visit.Exchanges) == 0 {
		return nil, fmt.Errorf("look inside the farm: nobody has asked for anything yet")
	}
	first, last := a.visit.Exchanges[0], a.final()
	all, err := w.hooks.Trace.Messages(ctx, first.Trace)
	if err != nil {
		return nil, fmt.Errorf("look inside the farm: %w", err)
	}
	from, to := first.Start, last.Start.Add(last.Took)
	msgs := slices.DeleteFunc(all, func(m farmspec.Message) bool { return m.At.Before(from) || m.At.After(to) })
	if len(msgs) == 0 {
		return nil, &failedControl{"the trace shows nothing of the request, so it proves nothing"}
	}
	return msgs, nil
}

func (w *world) find(ctx context.Context, words string, match func(m farmspec.Message, part string) bool) ([]farmspec.Message, int, error) {
	part, err := w.part(words)
	if err != nil {
		return nil, -1, err
	}
	msgs, err := w.inside(ctx)
	if err != nil {
		return nil, -1, err
	}
	return msgs, slices.IndexFunc(msgs, func(m farmspec.Message) bool { return m.From == part && match(m, part) }), nil
}

func (w *world) did(ctx context.Context, words, op string, match func(farmspec.Message, string) bool, what string) error {
	_, i, err := w.find(ctx, words, match)
	if err != nil {
		return err
	}
	return w.expect(i >= 0, w.acts.attempt.final(), fmt.Sprintf("%s did %q%s", words, op, what), yesNo(i >= 0))
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (w *world) partDid(ctx context.Context, words, op string) error {
	return w.did(ctx, words, op, func(m farmspec.Message, _ string) bool { return m.Op == op }, "")
}

func (w *world) partDidAtDatabase(ctx context.Context, words, op string) error {
	return w.did(ctx, words, op, func(m farmspec.Message, _ string) bool {
		return m.Op == op && m.To == farmspec.DatabaseProcess
	}, " at the database")
}

func (w *world) partDidBeforeAnswer(ctx context.Context, words, op string) error {
	msgs, i, err := w.find(ctx, words, func(m farmspec.Message, _ string) bool { return m.Op == op })
	if err != nil {
		return err
	}
	part, _ := w.part(words)
	answered := slices.IndexFunc(msgs, func(m farmspec.Message) bool { return m.From == part && m.Op == farmspec.OpRespond })
	ok := i >= 0 && answered > i
	return w.expect(ok, w.acts.attempt.final(), fmt.Sprintf("%s did %q before it answered the browser", words, op), yesNo(ok))
}

func (w *world) partDidNot(ctx context.Context, words, op string) error {
	_, i, err := w.find(ctx, words, func(m farmspec.Message, _ string) bool { return m.Op == op })
	if err != nil {
		return err
	}
	return w.expect(i < 0, w.acts.attempt.final(), fmt.Sprintf("%s did not do %q", words, op), "it did: "+yesNo(i >= 0))
}

func (w *world) noServerSpokeToDatabase(ctx context.Context) error {
	msgs, err := w.inside(ctx)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if _, isMember := w.target.Member(m.From); isMember && m.To == farmspec.DatabaseProcess {
			return w.expect(false, w.acts.attempt.final(), "no server speaks to the database", m.From+" did "+m.Op)
		}
	}
	return w.expect(true, w.acts.attempt.final(), "no server speaks to the database", "none did")
}
