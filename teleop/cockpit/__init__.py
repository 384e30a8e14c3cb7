"""The cockpit: what the fleet's keepers see. Metrics, a board of sites, early warning. Looks only; decides no motion."""
