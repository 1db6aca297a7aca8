package simfarm

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/web"
)

// Target describes the farm to a judge, with every hook.
func (f *Farm) Target() *farmspec.Target {
	o := f.o
	t := &farmspec.Target{
		Name:     o.ProfileName(),
		Product:  "farmspec reference farm",
		Version:  o.Version,
		Artefact: artefact(),

		Topology: o.Topology,
		Handoff:  o.Handoff,
		Rotation: o.Rotation,
		Grace:    o.Grace,
		Replay:   o.Replay,

		Members:       f.Members(),
		Resolve:       make(map[string]string),
		Carrier:       farmspec.Carrier{Kind: "cookie", Name: f.web.CookieName()},
		HandoffParams: farmspec.HandoffParams(f.web.Handoff.Params()),
		Login:         farmspec.LoginRecipe{Path: web.LoginPath, UserField: web.UserField, PassField: web.PasswordField},
		Logout:        farmspec.LogoutRecipe{Path: web.LogoutPath},
		Open:          &farmspec.Page{Member: f.members[0].name, Kind: farmspec.HTML, Path: web.AboutPath, Marker: "farm-page:" + web.AboutPath},
		UserEcho:      web.UserEcho,

		Limits:      farmspec.Limits{Idle: o.Limits.Idle, Absolute: o.Limits.Absolute, Tolerance: o.Limits.Tolerance},
		MaxSessions: o.MaxSessions,
		Assurance:   o.Assurance,
		Failover:    o.Failover,
		Account: farmspec.Account{
			Sessions: farmspec.SessionList{Path: web.AccountPath, Item: web.SessionItem, Form: "end", Confirm: web.ConfirmField},
			Password: farmspec.PasswordChange{
				Path: web.PasswordPath, Current: web.ConfirmField, New: web.NewField, Again: web.AgainField, EndOthers: web.EndOthersField,
			},
			Transaction: farmspec.Transaction{
				Path: web.TransferPath, Confirm: web.ConfirmField, Done: web.TransferDone,
				Values: map[string]string{web.BeneficiaryField: "the harbour fund", web.AmountField: "12"},
			},
		},

		Hooks: farmspec.Hooks{
			Accounts:  accounts{f},
			Service:   serviceHook{f},
			Admin:     adminHook{web.NewAdminClient(web.ClientOptions{URL: f.ServiceURL(), Secret: f.admin, Transport: f.transport, Timeout: callTimeout})},
			Processes: processHook{f},
			Clock:     clockHook{f.clock, f.clock.of(farmspec.ServiceProcess)},
			Database:  databaseHook{f.db},
			Keys:      keyHook{f.keys},
			Fork:      f.Fork,
		},
	}
	if f.authority != nil {
		t.RootCAs = f.authority.pool
	}
	if t.Assurance == "" {
		t.Assurance = farmspec.AssuranceOf(t.Limits)
	}
	if !o.Unobserved {
		t.Hooks.Trace, t.Hooks.Holds, t.Hooks.Logs = f.recorder, f.holds, logHook{f.recorder}
	}
	for _, m := range t.Members {
		t.Resolve[hostOf(m.URL)] = f.reachedAt()
	}
	if f.circle != nil {
		t.Hooks.Federation = f.circle
		f.circle.resolve(t.Resolve)
	}
	slowOn := f.members[min(1, len(f.members)-1)].name // a second server, where there is one
	ends := make(map[string]string)
	for _, p := range f.web.Directory.Pages() {
		if p.View == web.End {
			ends[p.App] = p.Path
		}
	}
	for _, p := range f.web.Directory.Pages() {
		page := farmspec.Page{Member: p.Member, Kind: farmspec.Kind(p.Kind), Path: p.Path, Marker: p.Marker(), Echo: p.Echo()}
		switch p.View {
		case web.Cart, web.Tally:
			t.Apps = append(t.Apps, farmspec.App{
				Name: p.App, Member: p.Member, Path: p.Path, Marker: p.Marker(), Field: p.View.Field(),
				EndPath: ends[p.App], Idle: f.appIdle(p.App),
			})
		case web.Slow:
			if p.Member == slowOn {
				page.Path += "?ms=300"
				t.Slow = &page
			}
		case web.End:
		default:
			t.Pages = append(t.Pages, page)
		}
	}
	return t
}

// artefact is the digest of the running program: what carries the steps out
// (CP-0). It is "" where the program cannot be read.
var artefact = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return ""
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
})

func (f *Farm) appIdle(app string) time.Duration {
	d, own := f.o.Limits.AppIdle[app]
	switch {
	case !own:
		return f.o.Limits.HTTPIdle
	case d <= 0:
		return -1
	}
	return d
}

func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return "" // the directory has checked it
	}
	return u.Hostname()
}
