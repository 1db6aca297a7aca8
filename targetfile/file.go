package targetfile

// File is a target file as it is written. Its shape is what schema.json
// publishes; the doc tags are its descriptions there. A field with
// need:"yes" must be there, and words are the values a word may have.
type File struct {
	Name    string  `yaml:"name" doc:"Short name of the target in reports. Left out, it is made from the product's."`
	Product Product `yaml:"product" need:"yes" doc:"What is tested."`

	Topology string            `yaml:"topology" words:"single-host shared-domain split-domain" doc:"Whose cookie it is: single-host, one host name for all members (they differ by port or path); shared-domain, a host name each and one cookie for their common domain; split-domain, a host name each and a cookie for each. Left out, it is found from the members' addresses."`
	Members  []MemberEntry     `yaml:"members" need:"yes" doc:"The web servers of the farm, each at its own address, not through a balancer. Two or more show that they share sessions."`
	Resolve  map[string]string `yaml:"resolve" doc:"IP addresses of host names that no name server knows, such as members on one machine."`

	CA string `yaml:"ca" doc:"A PEM file, relative to this one, with the certificates of the authorities that may vouch for the members over https. Left out: those that this machine trusts."`

	Carrier    Carrier  `yaml:"carrier" need:"yes" doc:"How the browser carries its session."`
	Companions []string `yaml:"companions" doc:"Cookies that a browser needs beside the session's: CSRF, affinity, one for each application."`
	Handoff    Handoff  `yaml:"handoff" doc:"How one member passes the session to another by a redirect. Left out: none, members share the cookie."`
	Rotation   Rotation `yaml:"rotation" doc:"When the session's token is replaced. Left out: none, one token for the life of the session."`
	Replay     string   `yaml:"replay" words:"reject revoke-family" doc:"What a token that was replaced leads to: reject refuses it, revoke-family ends its session as well. Only with a rotation."`

	Login  Login  `yaml:"login" need:"yes" doc:"How to log in."`
	Logout Logout `yaml:"logout" doc:"How to log out. Left out: the farm has no log-out, and what needs one is unsupported."`
	Echo   string `yaml:"echo" need:"yes" doc:"What a protected page shows of who is logged in, with {user} for the name: proof of whose session answered."`

	Pages []PageEntry `yaml:"pages" need:"yes" doc:"Protected pages; at least one of kind html at each member."`
	Apps  []AppEntry  `yaml:"apps" doc:"Pages that remember a value in the session, as a shopping cart does."`
	Slow  *PageEntry  `yaml:"slow" doc:"A protected page that takes about a second, so that things happen meanwhile."`
	Open  *PageEntry  `yaml:"open" doc:"A page that needs no session."`

	Account   AccountPages `yaml:"account" doc:"Pages on which users look after their own account, below each member's address. What is left out is unsupported."`
	Assurance string       `yaml:"assurance" words:"AAL1 AAL2 AAL3" doc:"The authentication assurance level of NIST SP 800-63B-4 at which the farm is run; its limits are then held against the farm's. Left out: none."`
	Failover  string       `yaml:"failover" words:"survive relogin" doc:"What the crash of a member means for those who are signed in there: survive, they go on; relogin, they log in again. Left out: survive."`

	Limits      Limits            `yaml:"limits" need:"yes" doc:"The time-outs the farm promises."`
	MaxSessions int               `yaml:"max_sessions" doc:"How many sessions a user may have at once; 0 is no limit."`
	Accounts    Accounts          `yaml:"accounts" need:"yes" doc:"Accounts to log in with. Two for each member and one more let all scenarios run but one; that one needs 30 besides, and multiples run side by side."`
	Features    map[string]string `yaml:"features" words:"yes no" keys:"log-out open-page end-application return-to-page concurrent-sessions own-sessions change-password end-other-sessions transaction assurance lost-in-crash" doc:"What the farm is able to do: yes must hold, no is not asked for and reported as unsupported. Left out: yes."`
	Hooks       Hooks             `yaml:"hooks" doc:"Doors into the farm beside HTTP. Each line is a shell command, or a method and an address such as POST http://127.0.0.1:8099/stop. The input is a JSON object on standard input or in the body; in an address {name} stands for one of its values, and a command finds that as FARMSPEC_NAME in its environment."`
	MaxWait     Duration          `yaml:"max_wait" doc:"The longest a scenario may wait where time cannot be moved, unless the command line says otherwise."`
	Load        LoadTerms         `yaml:"load" doc:"What farmspec load may ask of the farm."`
	Metrics     []string          `yaml:"metrics" doc:"Addresses at which the farm tells its own numbers in the text format of Prometheus; farmspec load draws them beside the latency."`
}

// Product says what is tested.
type Product struct {
	Name    string `yaml:"name" need:"yes" doc:"The product's name."`
	Version string `yaml:"version" doc:"Its version."`
	// Artefact goes into reports as it is.
	Artefact string `yaml:"artefact" doc:"The digest of its program, such as sha256:0f1e…, so that a report says what was judged."`
}

// MemberEntry is one web server.
type MemberEntry struct {
	Name string `yaml:"name" need:"yes" doc:"Short and unique, such as server-1."`
	URL  string `yaml:"url" need:"yes" doc:"Its base address, without a slash at the end."`
}

// Carrier says how the browser carries its session.
type Carrier struct {
	Kind string `yaml:"kind" words:"cookie path query" doc:"cookie; path, a path parameter such as ;jsessionid=; query, a query parameter. Left out: cookie."`
	Name string `yaml:"name" need:"yes" doc:"The cookie's or the parameter's name, spelled as the farm does."`
}

// Handoff says how members pass a session on.
type Handoff struct {
	Mode      string `yaml:"mode" words:"none sealed claimed direct" need:"yes" doc:"none; sealed, an encrypted token in the redirect's address; claimed, session ID and timestamp there; direct, a reference there and the token from server to server."`
	Parameter string `yaml:"parameter" doc:"The query parameter of a sealed or direct hand-off."`
	ID        string `yaml:"id" doc:"The query parameter of the session ID in a claimed hand-off."`
	Timestamp string `yaml:"timestamp" doc:"The query parameter of the timestamp, in milliseconds since 1970, in a claimed hand-off."`
}

// Rotation says when a token is replaced.
type Rotation struct {
	Policy string   `yaml:"policy" words:"none strict coalesce read-verify" need:"yes" doc:"none; strict, by every request; coalesce, likewise, with a grace period for the predecessor; read-verify, by pages and not by what they load."`
	Grace  Duration `yaml:"grace" doc:"How long the predecessor stays good under coalesce."`
}

// Login says how to log in.
type Login struct {
	Kind     string `yaml:"kind" words:"form json basic" doc:"form, fill and send the form at path, hidden fields kept; json, post a JSON object to path; basic, HTTP Basic. Left out: form."`
	Path     string `yaml:"path" need:"yes" doc:"Path of the log-in, below each member's address; of a protected page for basic."`
	User     string `yaml:"user" doc:"Name of the user's field; for form and json."`
	Password string `yaml:"password" doc:"Name of the password's field; for form and json."`
}

// Logout says how to log out.
type Logout struct {
	Path string `yaml:"path" need:"yes" doc:"Path of the page with the log-out form, or of the log-out itself for get and post."`
	Kind string `yaml:"kind" words:"form get post" doc:"form, send the form on the page; get or post, ask for the path. Left out: form."`
	Form string `yaml:"form" doc:"ID or name of the form, where the page has several."`
}

// PageEntry is a page.
type PageEntry struct {
	Path   string `yaml:"path" need:"yes" doc:"Its path, below each member's address."`
	Member string `yaml:"member" doc:"The member that holds it. Left out: each member has it."`
	Kind   string `yaml:"kind" words:"html jsp asp applet" doc:"What it is. Left out: html."`
	Marker string `yaml:"marker" need:"yes" doc:"Text that only this page has, served in full, and neither the log-in page nor an error. {member} stands for the member's name, where the page shows it: that tells members apart."`
	Echo   string `yaml:"echo" words:"yes no" doc:"Whether it shows the echo. Left out: yes, but for an applet, an open and a slow page."`
}

// AppEntry is a stateful page.
type AppEntry struct {
	Name   string   `yaml:"name" need:"yes" doc:"Short and unique."`
	Path   string   `yaml:"path" need:"yes" doc:"Path of the page that shows the values, with a form that adds one."`
	Member string   `yaml:"member" doc:"The member that holds it. Left out: each member has it, and the values are the same at each."`
	Marker string   `yaml:"marker" need:"yes" doc:"Text that only this page has; see pages."`
	Field  string   `yaml:"field" need:"yes" doc:"The form's field for a value to remember. The page shows every value remembered."`
	End    string   `yaml:"end" doc:"Path of a form that ends this application's HTTP session and no other."`
	Idle   Duration `yaml:"idle" doc:"Its own idle time-out; 0s is none. Left out: limits.http_idle."`
	Stays  string   `yaml:"stays" words:"yes no" doc:"Whether the application has opted out of the common log-out, as by <global-logout-disabled/> on AS Java. Left out: no."`
}

// AccountPages are the pages of a user's own account.
type AccountPages struct {
	Sessions    SessionList    `yaml:"sessions" doc:"The page that lists the user's own sessions and ends them."`
	Password    PasswordChange `yaml:"password" doc:"The page that changes the user's password. farmspec changes it and changes it back."`
	Transaction Transaction    `yaml:"transaction" doc:"A page that does something highly sensitive, such as a transfer. farmspec does it."`
}

// SessionList is the page of the user's own sessions.
type SessionList struct {
	Path    string `yaml:"path" need:"yes" doc:"Its path."`
	Item    string `yaml:"item" need:"yes" doc:"Text that its source has once for each open session of the user."`
	Form    string `yaml:"form" doc:"ID or name of the form that ends another session, or all others. Left out: the page's first."`
	Confirm string `yaml:"confirm" doc:"The form's field for the user's password. Left out: it asks for none."`
}

// PasswordChange is the page of the user's password.
type PasswordChange struct {
	Path      string `yaml:"path" need:"yes" doc:"Its path."`
	Form      string `yaml:"form" doc:"ID or name of its form. Left out: the first with the field new."`
	Current   string `yaml:"current" doc:"The field for the password that the user has. Left out: it asks for none."`
	New       string `yaml:"new" need:"yes" doc:"The field for the new one."`
	Again     string `yaml:"again" doc:"The field for the new one once more."`
	EndOthers string `yaml:"end_others" doc:"The box to tick for ending the user's other sessions. Left out: the change always ends them; if it never does, say end-other-sessions: no under features."`
}

// Transaction is the page of something highly sensitive.
type Transaction struct {
	Path    string            `yaml:"path" need:"yes" doc:"Its path."`
	Form    string            `yaml:"form" doc:"ID or name of its form. Left out: the first that has the fields."`
	Values  map[string]string `yaml:"values" doc:"What to fill in, by field."`
	Confirm string            `yaml:"confirm" need:"yes" doc:"The field for the user's password."`
	Done    string            `yaml:"done" need:"yes" doc:"Text that only the answer to a transaction carried out has."`
}

// Limits are promised time-outs.
type Limits struct {
	Idle      Duration `yaml:"idle" need:"yes" doc:"How long a session lives without a request; where only its whole life is bounded, the same as absolute. With a time-out below a minute, the scenarios about time can wait for it."`
	Absolute  Duration `yaml:"absolute" doc:"How long a session lives at most, however busy. Left out: without bound."`
	HTTPIdle  Duration `yaml:"http_idle" doc:"The idle time-out of an application's HTTP session. Left out: idle."`
	Tolerance Duration `yaml:"tolerance" doc:"How far the farm's clocks may be apart. Left out: 1s."`
}

// Accounts are what one can log in with: a list, or made-up names.
type Accounts struct {
	List     []Account `yaml:"list" doc:"Accounts that exist."`
	Pattern  string    `yaml:"pattern" doc:"Names of accounts, with {n} for a number from 1 to count, instead of a list; {nnn} has three digits."`
	Count    int       `yaml:"count" doc:"How many the pattern makes. Left out: 100, or what the digits allow."`
	Password string    `yaml:"password" form:"secret" doc:"The password of every account of the pattern; as in the list."`
}

// Account is one user.
type Account struct {
	User     string `yaml:"user" need:"yes" doc:"The name, as the echo shows it."`
	Password string `yaml:"password" need:"yes" form:"secret" doc:"env:NAME takes it from the environment, file:PATH from the first line of a file (relative to this one), text: gives it here, for accounts that are worth nothing."`
}

// Hooks are doors into the farm beside HTTP. Each line is a shell command, or
// a method and an address: POST http://127.0.0.1:8099/stop. What is asked goes
// to it as a JSON object, on standard input or in the body, and what is asked
// for comes back as one.
type Hooks struct {
	Credential string             `yaml:"credential" form:"secret" doc:"A bearer credential that every request of a hook sends, but those to service and admin.url."`
	Processes  map[string]Process `yaml:"processes" doc:"How to stop and start the farm's parts: a member's name, service or database."`
	Clock      Clock              `yaml:"clock" doc:"How to move the farm's time."`
	Service    Service            `yaml:"service" doc:"The session management web service, where it speaks the interface of reference/web/openapi.yaml."`
	Admin      Admin              `yaml:"admin" doc:"What an administrator does: url and credential of a service that speaks the interface of reference/web/openapi.yaml, or a line for each thing he is able to do."`
	Database   Database           `yaml:"database" doc:"A look into the common session database, by a query for example."`
	Logs       map[string]string  `yaml:"logs" doc:"What prints the log of each part, or its last 16 MB, by the part's name: farmspec looks for tokens and passwords in it."`
	Keys       Keys               `yaml:"keys" doc:"What holds the keys that seal session tokens."`
}

// Process stops and starts one part.
type Process struct {
	Stop  string `yaml:"stop" need:"yes" doc:"A shell command, or POST and an address, that makes the part unreachable at once, as a crash would."`
	Start string `yaml:"start" need:"yes" doc:"A shell command, or POST and an address, that brings it back at its old address."`
}

// Clock moves time.
type Clock struct {
	Advance string `yaml:"advance" need:"yes" doc:"A shell command, or POST and an address, that moves the time of every part forward by {seconds}; or by {milliseconds}, back as well."`
	Now     string `yaml:"now" doc:"What answers the session service's time, as {\"now\": MILLISECONDS SINCE 1970}. Left out: our time, as far as it was moved."`
	Skew    string `yaml:"skew" doc:"What sets the clock of one part, {process}, off from the farm's time by {milliseconds}."`
}

// Service is the session management web service.
type Service struct {
	URL         string            `yaml:"url" need:"yes" doc:"Its base address, without /v1."`
	Credentials map[string]string `yaml:"credentials" need:"yes" form:"secret" doc:"The bearer credential of each member: env:NAME or file:PATH."`
}

// Admin is what an administrator does.
type Admin struct {
	URL            string `yaml:"url" doc:"Base address of the session service, without /v1."`
	Credential     string `yaml:"credential" form:"secret" doc:"The administrator's bearer credential for it: env:NAME or file:PATH."`
	Sessions       string `yaml:"sessions" doc:"What lists the sessions of {user}, of everybody where that is empty, as {\"sessions\": [{ref, user, authenticated_at, closed_at, reason, http_sessions}]}."`
	EndSession     string `yaml:"end_session" doc:"What ends the session {ref}."`
	EndHTTPSession string `yaml:"end_http_session" doc:"What ends the HTTP session {id} and no other."`
	EndUser        string `yaml:"end_user" doc:"What ends every session of {user}."`
	EndAll         string `yaml:"end_all" doc:"What ends every session."`
	DisableUser    string `yaml:"disable_user" doc:"What disables the account of {user} and ends every session of it."`
	EnableUser     string `yaml:"enable_user" doc:"What lets {user} log in again."`
}

// Database is a look into the common session database.
type Database struct {
	Rows     string `yaml:"rows" need:"yes" doc:"What shows the rows of {user}, of everybody where that is empty: as sessions of an administrator, each with token: {id, timestamp}."`
	SetToken string `yaml:"set_token" doc:"What overwrites the token of the row {ref} with token: {id, timestamp}."`
	Remove   string `yaml:"remove" doc:"What deletes the row {ref} without a trace."`
	FailNext string `yaml:"fail_next" doc:"What makes the next write of the W3C trace {trace} fail before it is committed."`
}

// Keys opens and seals session tokens.
type Keys struct {
	Open        string `yaml:"open" need:"yes" doc:"What opens sealed, the value of the carrier, and answers {\"token\": {id, timestamp}}, or {} where the farm's keys do not open it."`
	Seal        string `yaml:"seal" doc:"What seals token: {id, timestamp} as a member would, and answers {\"sealed\": TEXT}."`
	SealForeign string `yaml:"seal_foreign" doc:"The same, under a key that is not the farm's."`
	Rotate      string `yaml:"rotate" doc:"What brings in a new key: the first {members} members seal with it, and all open both."`
}

// LoadTerms bound a load.
type LoadTerms struct {
	MaxRate int `yaml:"max_rate" doc:"The most page views per second, spent tokens that are presented included. Left out: without bound."`
}
