package farmspec

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// LogIn gives name and password as the recipe says: in the form of the page
// where from ended, posted from there as JSON, or as HTTP Basic credentials
// (RFC 7617), which are sent once and need no page; what follows is the
// session's that the answer brings. address is the log-in's; a form has its
// own. The error is about what could not be sent, as that of [Browser.Submit];
// an exchange that failed has an error of its own.
func (b *Browser) LogIn(ctx context.Context, r LoginRecipe, from *Visit, address, user, password string) (*Visit, error) {
	values := map[string]string{r.UserField: user, r.PassField: password}
	switch r.Kind {
	case BasicLogin:
		header := http.Header{}
		(&http.Request{Header: header}).SetBasicAuth(user, password)
		return &Visit{Exchanges: []*Exchange{b.Send(ctx, Request{URL: address, Dest: "document", KeepCookies: true, Header: header})}}, nil
	case JSONLogin:
		body, err := json.Marshal(values)
		if err != nil {
			return from, fmt.Errorf("log in: %w", err)
		}
		return b.PostJSON(ctx, from, address, string(body))
	}
	return b.Submit(ctx, from, "", values)
}
