(function () {
  "use strict";
  var field = document.getElementById("username") || document.getElementById("field-username");
  var hint = document.getElementById("hint") || document.getElementById("field-username-output");
  var form = field && field.form;
  if (!form || !hint) return;
  var usual = hint.textContent;
  var timer, asked;
  function say(text) {
    hint.textContent = text || usual;
    hint.classList.toggle("bad", Boolean(text));
    field.setAttribute("aria-invalid", text ? "true" : "false");
  }
  function check(name) {
    asked = name;
    if (name === "") return Promise.resolve("Please choose a name.");
    if (!/^[a-z0-9._=\-\/+]+$/.test(name)) return Promise.resolve("Only small letters, digits and . _ = - / + are possible.");
    return fetch("check?username=" + encodeURIComponent(name), { credentials: "include" })
      .then(function (answer) {
        return answer.json();
      })
      .then(function (answer) {
        if (answer.errcode) return answer.error;
        return answer.available ? "" : "This name is taken.";
      })
      .catch(function () {
        return ""; // the form's own answer decides
      });
  }
  field.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(function () {
      var name = field.value;
      if (name === "") return say("");
      check(name).then(function (text) {
        if (asked === name) say(text);
      });
    }, 350);
  });
  var sure = false;
  form.addEventListener("submit", function (event) {
    if (sure) return;
    event.preventDefault();
    clearTimeout(timer);
    check(field.value).then(function (text) {
      say(text);
      if (text) return field.focus();
      sure = true;
      form.submit();
    });
  });
})();
