"""The reviewer's side: the page over session logs, its server, and the report."""
