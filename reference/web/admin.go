package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/saml"
)

// AdminUser is the administrator's name at AdminPath.
const AdminUser = "admin"

type adminData struct {
	Token, Message string
	Sessions       []reference.SecuritySession
}

// Instant shows milliseconds since 1970.
func (adminData) Instant(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateTime) }

// admin lists the sessions and ends chosen ones (AJ-6.6, ASVS 7.4.5). The
// administrator's account has nothing to do with the farm's sessions.
func (v *visit) admin() {
	user, password, _ := v.r.BasicAuth()
	given, want := sha256.Sum256([]byte(user+"\x00"+password)), sha256.Sum256([]byte(AdminUser+"\x00"+v.AdminSecret))
	if subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		v.w.Header().Set("WWW-Authenticate", `Basic realm="farm administration", charset="UTF-8"`)
		v.notice(http.StatusUnauthorized, "Administrators only", "Give the administrator's name and password.")
		return
	}
	status, d := http.StatusOK, adminData{}
	var err error
	if !v.safe() {
		form := v.form()
		if v.formTokenOK(formCookie, form.Get("csrf")) {
			d.Message, err = v.administer(form.Get("end"), form.Get("id"))
		} else {
			status, d.Message = http.StatusForbidden, "That form has expired. Please try again."
		}
	}
	if err == nil {
		d.Sessions, err = v.Admin.List(v.ctx, "")
	}
	if err == nil {
		d.Token, err = v.formToken(formCookie)
	}
	if err == nil {
		err = v.html(status, "admin", "Administration", d)
	}
	if err != nil {
		v.fail(err)
	}
}

// administer ends what a form chose and says how it went.
func (v *visit) administer(what, id string) (string, error) {
	var sel reference.Selection
	var err error
	switch what {
	case "http":
		sel.HTTPSession, err = reference.ParseID(id)
	case "session":
		sel.Session, err = reference.ParseID(id)
	case "user":
		sel.User = id
	case "all":
		sel.All = true
	}
	if err != nil || sel == (reference.Selection{}) {
		return "Nothing was chosen.", nil
	}
	switch _, err = v.Admin.Terminate(v.ctx, sel); {
	case err == nil:
		return "Ended.", nil
	case errors.Is(err, saml.ErrPartial):
		return "Ended here. Not every system that takes part in single log-out has confirmed it.", nil
	case errors.Is(err, reference.ErrUnknown):
		return "It had ended already.", nil
	}
	return "", err
}
