package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/farmspec/farmspec/reference"
)

// An application keeps what it remembers in one attribute of its HTTP session,
// as a JSON list of strings, within these bounds.
const (
	rememberedIn  = "values"
	maxValue      = 120 // bytes of one value
	maxRemembered = 12 << 10
	maxSaves      = 16 // attempts against concurrent changes
)

// appData is what an application's page shows.
type appData struct {
	Field, Token, Message string
	EndPath               string
	Values                []string
	Counts                []count
}

type count struct {
	Word  string
	Times int
}

// application shows what the browser's HTTP session remembers, after
// remembering a posted value (AJ-1.1). The HTTP session is created by the
// first request and mapped to the security session (AJ-2.3, AJ-4.3).
func (v *visit) application() error {
	field := v.page.View.Field()
	status, d := http.StatusOK, appData{Field: field, EndPath: v.page.Path + "/end"}
	var value string
	if v.r.Method == http.MethodPost {
		form := v.form()
		value = strings.TrimSpace(form.Get(field))
		switch {
		case !v.sessionFormTokenOK(form.Get("csrf")):
			status, value, d.Message = http.StatusForbidden, "", foreignForm
		case !presentable(value):
			status, value, d.Message = http.StatusBadRequest, "", fmt.Sprintf("Please give a line of 1 to %d characters.", maxValue)
		}
	}
	var err error
	if d.Values, err = v.remember(value); errors.Is(err, errFull) {
		status, d.Message, err = http.StatusConflict, "This is full. Please empty it first.", nil
	}
	if err != nil {
		return err
	}
	if d.Token, err = v.sessionFormToken(); err != nil {
		return err
	}
	if v.page.View == Tally {
		d.Counts = tally(d.Values)
	}
	return v.html(status, string(v.page.View), v.page.Title, d)
}

func presentable(value string) bool {
	return value != "" && len(value) <= maxValue && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
}

var (
	errFull  = errors.New("the HTTP session is full")
	errEnded = errors.New("the HTTP session ended meanwhile")
)

// remember adds a value, unless it is "", and returns all of them. When the
// HTTP session changed meanwhile it reads again and tries again, so that no
// concurrent value is lost.
func (v *visit) remember(value string) ([]string, error) {
	for range maxSaves {
		h, err := v.Sessions.OpenHTTP(v.ctx, v.grant.Session, v.page.App)
		if err != nil {
			return nil, err
		}
		var values []string
		if kept := h.Attributes[rememberedIn]; kept != "" {
			if err := json.Unmarshal([]byte(kept), &values); err != nil {
				return nil, fmt.Errorf("read HTTP session of %s: %w", v.page.App, err)
			}
		}
		if value == "" {
			return values, nil
		}
		kept, err := json.Marshal(append(values, value))
		if err != nil {
			return nil, fmt.Errorf("keep in HTTP session of %s: %w", v.page.App, err)
		}
		if len(kept) > maxRemembered {
			return values, errFull
		}
		h.Attributes = map[string]string{rememberedIn: string(kept)}
		v.point("before-save")
		switch err := v.Sessions.SaveHTTP(v.ctx, v.grant.Session, h); {
		case err == nil:
			return append(values, value), nil
		case errors.Is(err, reference.ErrUnknown):
			return nil, errEnded
		case !errors.Is(err, reference.ErrConflict):
			return nil, err
		}
	}
	return nil, fmt.Errorf("keep in HTTP session of %s: %w %d times", v.page.App, reference.ErrConflict, maxSaves)
}

func tally(values []string) []count {
	var counts []count
	at := make(map[string]int)
	for _, word := range values {
		i, known := at[word]
		if !known {
			i = len(counts)
			at[word] = i
			counts = append(counts, count{Word: word})
		}
		counts[i].Times++
	}
	return counts
}

// endApplication shows a form that ends the application's HTTP session, and
// ends it (AJ-2.7). It opens none. If it was the user's last, the security
// session has ended with it (AJ-3.3).
func (v *visit) endApplication() error {
	d := appData{EndPath: v.page.Path}
	status := http.StatusOK
	if v.r.Method == http.MethodPost {
		if v.sessionFormTokenOK(v.form().Get("csrf")) {
			err := v.Sessions.EndHTTP(v.ctx, v.grant.Session, v.page.App)
			if err != nil && !errors.Is(err, reference.ErrUnknown) {
				return err
			}
			d.Message = "Done. Nothing is remembered any more."
		} else {
			status, d.Message = http.StatusForbidden, foreignForm
		}
	}
	var err error
	if d.Token, err = v.sessionFormToken(); err != nil {
		return err
	}
	return v.html(status, string(End), v.page.Title, d)
}
