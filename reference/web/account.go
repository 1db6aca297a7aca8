package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/farmspec/farmspec/reference"
)

// The pages on which users look after their own account, at every member.
const (
	AccountPath  = "/account"
	PasswordPath = "/account/password"
	TransferPath = "/account/transfer"
)

// The fields of their forms. Every form has ConfirmField for the password that
// the user has now.
const (
	ConfirmField     = "confirm"
	NewField         = "new"
	AgainField       = "again"
	EndOthersField   = "end_others"
	BeneficiaryField = "to"
	AmountField      = "amount"
)

// What their pages show: SessionItem in the source once for each session, and
// TransferDone where a transfer was carried out.
const (
	SessionItem  = `<li class="session">`
	TransferDone = "The transfer was carried out."
)

const (
	account  View = "account"
	password View = "password"
	transfer View = "transfer"
)

// others is the choice of every session but this one.
const others = "others"

// The bounds of a new password, in bytes (SP 800-63B-4, 3.1.1.2, asks for
// eight characters beside another factor and fifteen without).
const (
	minPassword = 15
	maxPassword = 256
)

const foreignForm = "That form was not made for you. Please use this one."

// accountPages are the member's, beside those of the directory.
func accountPages(member string) map[string]Page {
	return map[string]Page{
		AccountPath:  {Member: member, Path: AccountPath, Kind: HTML, View: account, Title: "Your account"},
		PasswordPath: {Member: member, Path: PasswordPath, Kind: HTML, View: password, Title: "Change your password"},
		TransferPath: {Member: member, Path: TransferPath, Kind: HTML, View: transfer, Title: "Transfer"},
	}
}

// takesForms reports whether the page answers to POST.
func (p Page) takesForms() bool {
	return p.App != "" || p.View == account || p.View == password || p.View == transfer
}

type accountData struct {
	Token, Message, Done string
	Sessions             []ownSession
}

type ownSession struct {
	Ref   reference.ID
	Here  bool
	Since string
	Apps  []string
}

// lookAfterAccount shows an account page, after doing what its form asked
// for. Whatever it does takes the user's password (ASVS 7.5.1 to 7.5.3).
func (v *visit) lookAfterAccount() error {
	status, said := http.StatusOK, ""
	var d accountData
	var err error
	if v.r.Method == http.MethodPost {
		form := v.form()
		by := reference.Confirmed{Session: v.grant.Session, Password: form.Get(ConfirmField)}
		if v.sessionFormTokenOK(form.Get("csrf")) {
			switch v.page.View {
			case account:
				status, said, err = v.endOwn(by, form.Get("session"))
			case password:
				status, said, err = v.changePassword(by, form.Get(NewField), form.Get(AgainField), form.Get(EndOthersField) != "")
			default:
				status, said, err = v.transferTo(by, strings.TrimSpace(form.Get(BeneficiaryField)), strings.TrimSpace(form.Get(AmountField)))
			}
		} else {
			status, said = http.StatusForbidden, foreignForm
		}
		if errors.Is(err, reference.ErrCredentials) {
			status, said, err = http.StatusForbidden, "That is not your password. Nothing was done.", nil
		}
		if status == http.StatusOK {
			d.Done = said
		} else {
			d.Message = said
		}
	}
	if err == nil && v.page.View == account {
		d.Sessions, err = v.ownSessions()
	}
	if err == nil {
		d.Token, err = v.sessionFormToken()
	}
	if err != nil {
		return err
	}
	return v.html(status, string(v.page.View), v.page.Title, d)
}

// endOwn ends the chosen session and says how it went.
func (v *visit) endOwn(by reference.Confirmed, chosen string) (int, string, error) {
	var which reference.ID
	if chosen != others {
		var err error
		if which, err = reference.ParseID(chosen); err != nil {
			return http.StatusBadRequest, "Nothing was chosen.", nil
		}
	}
	switch _, err := v.Sessions.EndOwn(v.ctx, by, which); {
	case errors.Is(err, reference.ErrUnknown):
		return http.StatusConflict, "It had ended already.", nil
	case err != nil:
		return 0, "", err
	}
	return http.StatusOK, "Signed out there.", nil
}

func (v *visit) changePassword(by reference.Confirmed, next, again string, endOthers bool) (int, string, error) {
	switch {
	case next != again:
		return http.StatusBadRequest, "The two new passwords are not the same.", nil
	case len(next) < minPassword || len(next) > maxPassword:
		return http.StatusBadRequest, fmt.Sprintf("Please choose a password of %d to %d characters.", minPassword, maxPassword), nil
	}
	if err := v.Sessions.ChangePassword(v.ctx, by, next, endOthers); err != nil {
		return 0, "", err
	}
	return http.StatusOK, "Your password was changed.", nil
}

// transferTo does nothing but ask for the password: what it would move is not
// this farm's.
func (v *visit) transferTo(by reference.Confirmed, to, amount string) (int, string, error) {
	if !presentable(to) || amount == "" || len(amount) > 9 || strings.Trim(amount, "0123456789") != "" {
		return http.StatusBadRequest, "Please say to whom, and how much in whole numbers.", nil
	}
	if err := v.Sessions.Confirm(v.ctx, by); err != nil {
		return 0, "", err
	}
	return http.StatusOK, fmt.Sprintf("%s %s went to %s.", TransferDone, amount, to), nil
}

func (v *visit) ownSessions() ([]ownSession, error) {
	all, err := v.Sessions.Own(v.ctx, v.grant.Session)
	if err != nil {
		return nil, err
	}
	list := make([]ownSession, 0, len(all))
	for _, s := range all {
		o := ownSession{Ref: s.Ref, Here: s.Ref == v.grant.Session, Since: time.UnixMilli(s.AuthenticatedAt).UTC().Format(time.DateTime)}
		for _, h := range s.HTTP {
			o.Apps = append(o.Apps, h.Application)
		}
		list = append(list, o)
	}
	return list, nil
}
