package simfarm_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

// A farm's numbers are those of what people did with it.
func TestMetrics(t *testing.T) {
	var m simfarm.Metrics
	farm, err := simfarm.Open(t.Context(), m.Watch(simfarm.Options{Servers: 2, Rotation: farmspec.Strict, Unobserved: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer farm.Close()
	target := farm.Target()
	told := func(line string) {
		t.Helper()
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body, _ := io.ReadAll(w.Result().Body)
		if !strings.Contains(string(body), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
	told("farm_logins_total 0")
	told("farm_sessions_open 0")
	u, err := target.Hooks.Accounts.New(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	b := farmspec.NewBrowser(farmspec.BrowserOptions{Target: target})
	defer b.Close()
	at := target.Members[0]
	form, err := b.Open(t.Context(), at.At(target.Login.Path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(t.Context(), form, "", map[string]string{target.Login.UserField: u.Name, target.Login.PassField: "wrong"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(t.Context(), form, "", map[string]string{target.Login.UserField: u.Name, target.Login.PassField: u.Password}); err != nil {
		t.Fatal(err)
	}
	told("farm_logins_total 1")
	told("farm_sessions_open 1")
	told(`farm_refusals_total{reason="credentials"} 1`)
	told("farm_logouts_total 0")
	form, err = b.Open(t.Context(), at.At(target.Logout.Path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(t.Context(), form, "", nil); err != nil {
		t.Fatal(err)
	}
	told("farm_logouts_total 1")
	told("farm_sessions_open 0")
	told("# TYPE go_goroutines gauge")
}
