"""The hospital's own page at the table. It needs no WAN: it talks to the site's governor and case desk over Unix sockets."""
