package features

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The steps of rotation: new tokens, old tokens, what becomes of each.

type rotateScene struct {
	walk   []stride
	sealed []string
	plain  []farmspec.PlainToken
	row    []farmspec.Row
	before carried
}

// stride is one page of a walk, with the token carried before and after.
type stride struct {
	*attempt
	before, after carried
	known         bool // the token afterwards had been carried before
	started       time.Time
	ended         time.Time
}

func (w *world) registerRotate(s stepper) {
	s.step(`(\w+) signs in and goes around all servers`, w.signsInAndGoesAround)
	s.step(`(\w+) goes (\d+) times around all servers`, w.goesAround)
	s.step(`(\w+) goes from every server to every other`, w.goesFromEveryToEvery)
	s.step(`a new key has reached (\d+) servers? and (\w+) goes from every server to every other`, w.keyRollsOut)
	s.step(`(\w+) visits (\d+) pages in a row, each on another server than the last`, w.visitsInARow)
	s.step(`every page was served`, w.everyPageWasServed)
	s.step(`every page brought a token she had never had`, w.everyPageBroughtANewToken)
	s.step(`the second server sent the new token and the first sent none`, w.secondServerSentTheToken)
	s.step(`the answer with the page carries the new token`, w.answerCarriesTheToken)
	s.step(`the session IDs in the hand-offs are all different and follow no order`, w.idsInHandoffs)
	s.step(`the session IDs in her tokens are all different and follow no order`, w.idsInTokens)
	s.step(`the session service renews (\w+)'s token (\d+) times`, w.serviceRenews)
	s.step(`the renewed session IDs are all different and follow no order`, w.renewedIDs)
	s.step(`the timestamp of (\w+)'s token is the instant of that page`, w.timestampIsThatOfThePage)
	s.step(`the timestamp handed over last is the instant of the page before`, w.timestampHandedOver)
	s.step(`(\w+)'s current token is sealed (\d+) times with the farm's key`, w.sealedAgain)
	s.step(`no two of the sealed tokens are equal or share a block`, w.sealingsDiffer)
	s.step(`each of them opens to (\w+)'s current token`, w.sealingsOpen)
	s.step(`(\w+)'s current token no longer works`, w.currentTokenNoLongerWorks)
	s.step(`(\w+) who presents (\w+)'s (current|earlier|first) token is refused`, w.whoPresentsIsRefused)
	s.step(`the common session database is read`, w.databaseIsRead)
	s.step(`it holds one open session of (\w+)`, w.holdsOneOpenSession)
	s.step(`its stored token is the one (\w+) carries`, w.storedTokenIsCarried)
	s.step(`a farm whose database outlives its processes`, w.durableFarm)
	s.step(`(server \d+|the session service|the database) dies and comes back`, w.diesAndComesBack)
	s.step(`the database fails the replacement for (\w+)'s next page`, w.databaseFailsReplacement)
	s.step(`the farm does not serve that page`, w.doesNotServeThatPage)
	s.step(`(\w+)'s second tab presents her earlier token`, w.secondTabPresents)
	s.step(`(\w+)'s page asks for the applet on server (\d+) as a resource`, w.asksForResource)
	s.step(`(\w+) still carries the token she had`, w.stillCarries)
}

// step makes one page of a walk.
func (w *world) stride(ctx context.Context, p *person, page farmspec.Page) error {
	s := stride{before: p.current(), started: w.now()}
	had := len(p.tokens)
	s.attempt = w.hop(ctx, p, page)
	s.ended, s.after = w.now(), p.current()
	s.known = len(p.tokens) == had || slices.ContainsFunc(p.tokens[:had], func(t carried) bool { return t.value == s.after.value })
	w.rotate.walk = append(w.rotate.walk, s)
	w.acts.attempt = s.attempt
	return ctx.Err()
}

// walkTo visits the HTML pages of the members, counted from zero.
func (w *world) walkTo(ctx context.Context, name string, members ...int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	for _, i := range members {
		if err := w.stride(ctx, p, w.home(w.target.Members[i%len(w.target.Members)])); err != nil {
			return err
		}
		if last := w.rotate.walk[len(w.rotate.walk)-1]; last.outcome != farmspec.Accepted {
			return nil // a Then says what that means
		}
	}
	return nil
}

// signsInAndGoesAround takes nothing for granted: where even this fails, the
// farm serves nobody.
func (w *world) signsInAndGoesAround(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.logIn(ctx, p, p.at, p.user.Password); err != nil {
		return w.expect(false, nil, name+" can sign in", err.Error())
	}
	return w.goesAround(ctx, name, 1)
}

func (w *world) goesAround(ctx context.Context, name string, times int) error {
	var route []int
	for range times {
		for i := range w.target.Members {
			route = append(route, i+1)
		}
	}
	return w.walkTo(ctx, name, route...)
}

func (w *world) goesFromEveryToEvery(ctx context.Context, name string) error {
	var route []int
	for i := range w.target.Members {
		for j := range w.target.Members {
			if i != j {
				route = append(route, i, j)
			}
		}
	}
	return w.walkTo(ctx, name, route...)
}

func (w *world) keyRollsOut(ctx context.Context, servers int, name string) error {
	if err := w.hooks.Keys.Rotate(ctx, servers); err != nil {
		return fmt.Errorf("roll a new key out: %w", err)
	}
	return w.goesFromEveryToEvery(ctx, name)
}

func (w *world) visitsInARow(ctx context.Context, name string, n int) error {
	route := make([]int, n)
	for i := range route {
		route[i] = i + 1
	}
	return w.walkTo(ctx, name, route...)
}

func (w *world) everyPageWasServed() error {
	for _, s := range w.rotate.walk {
		if s.outcome != farmspec.Accepted {
			return w.mustServe(s.attempt)
		}
	}
	last := w.rotate.walk[len(w.rotate.walk)-1]
	return w.expect(true, last.final(), "every page is served", fmt.Sprintf("%d of %d", len(w.rotate.walk), len(w.rotate.walk)))
}

func (w *world) everyPageBroughtANewToken() error {
	for i, s := range w.rotate.walk {
		if s.known {
			return w.expect(false, s.final(), "a token never carried before after every page",
				fmt.Sprintf("page %d left or brought back a token that had been carried", i+1))
		}
	}
	last := w.rotate.walk[len(w.rotate.walk)-1]
	return w.expect(true, last.final(), "a new token after every page", fmt.Sprintf("%d new tokens", len(w.rotate.walk)))
}

// setsToken reports whether an answer sets the carrier to a value.
func (w *world) setsToken(x *farmspec.Exchange) bool {
	return slices.ContainsFunc(x.SetCookies(), func(c *http.Cookie) bool {
		return c.Name == w.target.Carrier.Name && c.Value != "" && c.MaxAge >= 0
	})
}

func (w *world) secondServerSentTheToken() error {
	a := w.acts.attempt
	for _, x := range a.visit.Exchanges {
		from, ok := w.target.MemberOf(x.URL)
		if !ok || !w.setsToken(x) {
			continue
		}
		if from.Name != a.page.Member {
			return w.expect(false, x, "no new token from "+from.Name, "it sent one")
		}
	}
	return w.expect(w.setsToken(a.final()), a.final(), "a new token from "+a.page.Member, sent(w.setsToken(a.final())))
}

func sent(yes bool) string {
	if yes {
		return "it sent one"
	}
	return "it sent none"
}

func (w *world) answerCarriesTheToken() error {
	x := w.acts.attempt.final()
	both := w.setsToken(x) && strings.Contains(string(x.Body), w.acts.attempt.page.Marker)
	return w.expect(both, x, "the page and a new token in one answer", "page and token together: "+fmt.Sprint(both))
}

func (w *world) idsInHandoffs() error {
	var ids []string
	for i, s := range w.rotate.walk {
		t, err := w.target.TokenIn(s.visit.Exchanges[0].Location())
		if err != nil {
			return w.expect(false, s.visit.Exchanges[0], "session ID and timestamp in the hand-off", fmt.Sprintf("page %d: %v", i+1, err))
		}
		w.keepSecret(t.ID)
		ids = append(ids, t.ID)
	}
	return w.idsDiffer(ids)
}

func (w *world) idsInTokens(_ context.Context) error {
	var ids []string
	for _, s := range w.rotate.walk {
		t, err := w.plain(s.after)
		if err != nil {
			return err
		}
		ids = append(ids, t.ID)
	}
	return w.idsDiffer(ids)
}

// plain opens a token with the farm's key.
func (w *world) plain(t carried) (farmspec.PlainToken, error) {
	p, err := w.hooks.Keys.Open(t.value)
	switch {
	case err != nil && !isRefusal(err):
		return p, fmt.Errorf("open the token with the farm's key: %w", err)
	case err != nil:
		return p, &violation{fmt.Sprintf("expected that the farm's key opens the token; it does not: %v", err)}
	}
	w.keepSecret(p.ID)
	return p, nil
}

func (w *world) keepSecret(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, s)
}

func (w *world) serviceRenews(ctx context.Context, name string, n int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	for range n {
		if t, err = w.hooks.Service.Renew(ctx, w.target.Members[0].Name, t); err != nil {
			return fmt.Errorf("renew at the session service: %w", err)
		}
		w.rotate.plain = append(w.rotate.plain, t)
	}
	return nil
}

func (w *world) renewedIDs() error {
	var ids []string
	for _, t := range w.rotate.plain {
		ids = append(ids, t.ID)
	}
	return w.idsDiffer(ids)
}

// idsDiffer demands that no ID came twice and that the next could not be told
// from those before: no common prefix beyond chance, no constant step, no
// rising or falling order (claim 3; a sample can refute randomness, never prove it).
func (w *world) idsDiffer(ids []string) error {
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	flaw := ""
	switch {
	case len(seen) < len(ids):
		flaw = fmt.Sprintf("only %d of %d are different", len(seen), len(ids))
	case len(ids) >= 8 && len(commonPrefix(ids)) >= 12:
		flaw = fmt.Sprintf("all begin with the same %d characters", len(commonPrefix(ids)))
	case len(ids) >= 8 && constantStep(ids):
		flaw = "each is the one before plus a constant"
	case len(ids) >= 16 && (slices.IsSorted(ids) || slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) })):
		flaw = "they rise or fall in order"
	}
	if flaw != "" {
		return w.expect(false, nil, "session IDs that are all new and follow no order", flaw)
	}
	return w.expect(true, nil, "session IDs that are all new and follow no order", fmt.Sprintf("%d different ones", len(ids)))
}

func commonPrefix(ids []string) string {
	p := ids[0]
	for _, id := range ids[1:] {
		for !strings.HasPrefix(id, p) {
			p = p[:len(p)-1]
		}
	}
	return p
}

func constantStep(ids []string) bool {
	var last, step *big.Int
	for _, id := range ids {
		n, ok := new(big.Int).SetString(id, 16)
		if !ok {
			return false
		}
		if last != nil {
			d := new(big.Int).Sub(n, last)
			if step != nil && step.Cmp(d) != 0 {
				return false
			}
			step = d
		}
		last = n
	}
	return true
}

// instantOf checks that a timestamp lies in a page's time, give or take the
// declared tolerance and, as two clocks meet here, two seconds.
func (w *world) instantOf(ts int64, from, to time.Time, x *farmspec.Exchange) error {
	slack := w.target.Limits.Tolerance + 2*time.Second
	at := time.UnixMilli(ts)
	ok := !at.Before(from.Add(-slack)) && !at.After(to.Add(slack))
	off := at.Sub(from).Round(time.Millisecond)
	return w.expect(ok, x, "the timestamp to be the page's instant, within "+slack.String(), fmt.Sprintf("it is %v after the page was asked for", off))
}

func (w *world) timestampIsThatOfThePage(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	now, err := w.hooks.Clock.Now(ctx)
	if err != nil {
		return err
	}
	return w.instantOf(t.Timestamp, now, now, w.acts.attempt.final())
}

func (w *world) timestampHandedOver() error {
	x := w.acts.attempt.visit.Exchanges[0]
	t, err := w.target.TokenIn(x.Location())
	if err != nil {
		return w.expect(false, x, "session ID and timestamp in the hand-off", err.Error())
	}
	return w.instantOf(t.Timestamp, w.now(), w.now(), x)
}

func (w *world) sealedAgain(ctx context.Context, name string, n int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	t, err := w.plain(p.current())
	if err != nil {
		return err
	}
	for range n {
		s, err := w.hooks.Keys.Seal(t)
		if err != nil {
			return fmt.Errorf("seal with the farm's key: %w", err)
		}
		w.keepSecret(s)
		w.rotate.sealed = append(w.rotate.sealed, s)
	}
	return nil
}

// sealingsDiffer looks for equal values and for equal stretches of 12
// characters (9 bytes) at the same place, which chance does not make.
func (w *world) sealingsDiffer() error {
	const stretch = 12
	for i, a := range w.rotate.sealed {
		for _, b := range w.rotate.sealed[:i] {
			run := 0
			for k := range min(len(a), len(b)) {
				if a[k] == b[k] {
					run++
				} else {
					run = 0
				}
				if run >= stretch {
					return w.expect(false, nil, "sealings of one token that share nothing", fmt.Sprintf("two share %d characters up to place %d", stretch, k+1))
				}
			}
		}
	}
	return w.expect(true, nil, "sealings of one token that share nothing", fmt.Sprintf("%d sealings, all different", len(w.rotate.sealed)))
}

func (w *world) sealingsOpen(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	want, err := w.plain(p.current())
	if err != nil {
		return err
	}
	for _, s := range w.rotate.sealed {
		if got, err := w.plain(carried{value: s}); err != nil || got != want {
			return w.expect(false, nil, "each sealing opens to the token", "one does not")
		}
	}
	return w.expect(true, nil, "each sealing opens to the token", "all do")
}

func (w *world) currentTokenNoLongerWorks(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	return w.mustRefuse(ctx, w.visit(ctx, p, p.at, w.home(p.at)))
}

func (w *world) whoPresentsIsRefused(ctx context.Context, who, whose, which string) error {
	if err := w.presentsToken(ctx, who, whose, which); err != nil {
		return err
	}
	return w.refusesIt(ctx)
}

func (w *world) databaseIsRead(ctx context.Context) error {
	w.rotate.row = nil
	for _, p := range w.people {
		rows, err := w.hooks.Database.Rows(ctx, p.user.Name)
		if err != nil {
			return fmt.Errorf("read the common session database: %w", err)
		}
		w.rotate.row = append(w.rotate.row, rows...)
	}
	return nil
}

// openRows are the open sessions of a person among the rows read.
func (w *world) openRows(p *person) []farmspec.Row {
	var open []farmspec.Row
	for _, r := range w.rotate.row {
		if r.Open && r.User == p.user.Name {
			open = append(open, r)
		}
	}
	return open
}

func (w *world) holdsOneOpenSession(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	n := len(w.openRows(p))
	return w.expect(n == 1, nil, "one open session of "+name, fmt.Sprint(n))
}

func (w *world) storedTokenIsCarried(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	carries, err := w.plain(p.current())
	if err != nil {
		return err
	}
	rows := w.openRows(p)
	same := len(rows) == 1 && rows[0].Token == carries
	return w.expect(same, nil, "the stored token to be the one "+name+" carries", fmt.Sprintf("equal: %v", same))
}

func (w *world) durableFarm(ctx context.Context) error {
	return w.fork(ctx, farmspec.Variation{Durable: true})
}

func (w *world) diesAndComesBack(ctx context.Context, part string) error {
	name, err := w.part(part)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.crashed, w.disturbed = true, w.disturbed || w.target.Failover == farmspec.Relogin
	w.mu.Unlock()
	if err := w.hooks.Processes.Stop(ctx, name); err != nil {
		return fmt.Errorf("stop %s: %w", part, err)
	}
	if err := w.hooks.Processes.Start(ctx, name); err != nil {
		return fmt.Errorf("start %s: %w", part, err)
	}
	return nil
}

func (w *world) databaseFailsReplacement(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	if err := w.hooks.Database.FailNext(ctx, p.browser.Trace()); err != nil {
		return fmt.Errorf("make the database fail: %w", err)
	}
	w.acts.attempt = w.visit(ctx, p, p.at, w.home(p.at))
	return ctx.Err()
}

func (w *world) doesNotServeThatPage() error {
	a := w.acts.attempt
	if a.outcome == farmspec.Accepted {
		return w.expect(false, a.final(), "no page without a committed replacement", a.describe())
	}
	return w.expect(true, a.final(), "no page without a committed replacement", a.describe())
}

func (w *world) secondTabPresents(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	replaced := p.last.visit.Exchanges[0].Start // or later
	if err := w.presentsToken(ctx, name, name, "earlier"); err != nil {
		return err
	}
	w.acts.attempt.until = replaced.Add(w.target.Grace)
	return nil
}

// asksForResource fetches as a page's own <object> would.
func (w *world) asksForResource(ctx context.Context, name string, server int) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	page, err := w.pageOn("applet", server)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	w.rotate.before = p.current()
	x := p.browser.Send(ctx, farmspec.Request{
		URL: m.At(page.Path), Dest: "object", Cookies: farmspec.JarCookies, KeepCookies: true,
	})
	w.acts.attempt = w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(m, page))
	w.keepToken(p, m)
	return ctx.Err()
}

func (w *world) stillCarries(ctx context.Context, name string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	same := p.current().value == w.rotate.before.value
	return w.expect(same, w.acts.attempt.final(), "the token as it was", fmt.Sprintf("unchanged: %v", same))
}
